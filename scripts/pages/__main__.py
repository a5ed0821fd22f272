"""Write all generated pages again: PYTHONPATH=.:scripts .venv/bin/python -m pages."""

from pages import PAGES, file_of, man, new_store, whole

for name in PAGES:
    file_of(name).write_text(whole(name), "utf-8")
man.FILE.write_text(man.man(), "utf-8")
new_store.FILE.write_text(new_store.new_store(), "utf-8")
