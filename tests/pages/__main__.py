from tests.pages import PAGES, ROOT

for path, page in PAGES.items():
    (ROOT / path).write_text(page())
