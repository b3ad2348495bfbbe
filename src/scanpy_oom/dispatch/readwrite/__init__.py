"""Reading, writing, joining and converting of whole objects.

Modules here import `dispatch`, `engine.sources`, `matrix` and `storage`.
"""
