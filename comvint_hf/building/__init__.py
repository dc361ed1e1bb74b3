"""Scenes x recipe -> dataset folder: the one room that knows sources' scenes, synthesis and data; resume, and many tasks."""
