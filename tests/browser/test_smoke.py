"""The app opens."""


def test_home_opens(open_page):
    page = open_page()
    assert page.title()
    assert page.get_by_role("heading", level=1).count() == 1
