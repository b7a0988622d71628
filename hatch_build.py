"""The build hook: the wheel carries the chat page, and Node is asked for only when the page has to be built."""

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def _page() -> Any:
    spec = importlib.util.spec_from_file_location("threadmill_page_build", Path(__file__).parent / "web" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    def dependencies(self) -> list[str]:
        page = _page()
        wanted = page.mode() != "skip" and not page.fresh() and page.node() is None
        return [page.NODE_WHEEL] if wanted else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        page = _page()
        page.build(page.mode())
