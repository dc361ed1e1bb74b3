"""Scenes x recipe -> dataset folder, resumed where it stopped and shared among tasks: the room that knows synthesis and data."""
