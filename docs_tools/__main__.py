"""``python -m docs_tools``: write the generated parts into their pages."""

from docs_tools import DOCS, PARTS, with_part

for (_page, _name), _make in PARTS.items():
    _path = DOCS / _page
    _path.write_text(with_part(_path.read_text(encoding="utf-8"), _name, _make()), encoding="utf-8")
    print(f"{_page}: {_name}")
