"""The display of objects in notebooks. It depends on nothing, so that the classes of every layer can use it."""

from __future__ import annotations

import importlib


class NotebookDisplay:
    """An object that a notebook shows as tables and figures instead of its `repr`."""

    def _repr_html_(self) -> str | None:
        """Returns the object as HTML, or None if the extra `report` is not installed. IPython calls this method."""
        try:  # reports are a higher layer, which is imported only if a notebook shows an object
            notebook = importlib.import_module("jaxopt_bench.reports.notebook")
        except ImportError:
            return None
        html: str | None = notebook.notebook_html(self)
        return html
