from tests.pages import PAGES
from tests.paths import ROOT

for path, page in PAGES.items():
    (ROOT / path).write_text(page())
