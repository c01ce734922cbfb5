"""Pieces of HTML."""

import base64
import html
import re


def safe(text: object) -> str:
    """A text that is shown as it is, whatever it holds: marks are escaped."""
    return html.escape(printable(str(text)))


def printable(text: str) -> str:
    """A text in which characters that cannot be shown (control characters, half surrogates) are replaced."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)


def element(tag: str, content: str, style: str = "") -> str:
    """An element around content that is HTML already."""
    return f'<{tag} class="{style}">{content}</{tag}>' if style else f"<{tag}>{content}</{tag}>"


def anchor(text: str) -> str:
    """A name for a place of the page."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def picture(content: bytes, alternative: str) -> str:
    """A PNG file inside the page."""
    return f'<img alt="{safe(alternative)}" src="data:image/png;base64,{base64.b64encode(content).decode()}">'
