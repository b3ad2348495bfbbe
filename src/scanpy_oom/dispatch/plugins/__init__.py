"""Plugins: hook specifications, the manager, and what is built in.

Modules here import the registry and what is built in; parts of the dispatcher that are plugins add themselves.
"""
