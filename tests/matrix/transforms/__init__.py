"""Tests of transforms, each by its name; `ways` runs a chain in all the ways that there are."""
