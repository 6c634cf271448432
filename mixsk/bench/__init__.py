"""`mixsk bench`: compare methods over suites of tables, resumably, on a laptop or a cluster."""

from importlib import import_module

_WHERE = {
    "methods": ["IMAGE_METHODS", "METHODS", "TEXT_METHODS", "Method", "load_methods"],
    "protocol": ["Protocol"],
    "results": ["mean_ranks", "read_results", "summarise", "table_means"],
    "status": ["Status", "read_status"],
    "suite": ["Suite", "read_suite"],
}
_MODULES = {name: module for module, names in _WHERE.items() for name in names}
__all__ = sorted(_MODULES)


def __getattr__(name):
    """Import a module when something of it is asked for: the commands need one or two each."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
