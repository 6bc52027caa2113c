"""Every color of pages and charts, for light and for dark screens, and their contrast (WCAG 2.2)."""

PALETTE = {
    "paper": ("#ffffff", "#17181c"),
    "panel": ("#f6f5f4", "#212329"),
    "line": ("#dedbd8", "#3b3e46"),
    "ink": ("#1c1917", "#e9e7e4"),
    "soft": ("#57534e", "#b3ada7"),
    "blue": ("#1d4ed8", "#8ab4f8"),
    "green": ("#047857", "#4fd1a1"),
    "red": ("#9a3412", "#fb9a78"),
    "ochre": ("#92600a", "#e5b84b"),
    "violet": ("#6d28d9", "#c3a6ff"),
    "teal": ("#0f6c74", "#5cc8d6"),
    "pink": ("#b0175f", "#f79ac0"),
    "good-panel": ("#ecfdf5", "#10291f"),
    "bad-panel": ("#fdf1ed", "#371a12"),
    "mark-panel": ("#fef3c7", "#3a3011"),
}
"""Each color on a light and on a dark screen. Charts are drawn in the light ones, which `svg` turns into variables."""

TEXT = {
    "paper": ("ink", "soft", "blue", "green", "red"),
    "panel": ("ink", "soft", "blue", "red"),
    "good-panel": ("ink", "green"),
    "bad-panel": ("ink", "red"),
    "mark-panel": ("ink", "soft"),
}
"""The colors of text on each background."""

SERIES = ("blue", "red", "green", "ochre", "violet", "teal", "pink", "soft")
"""The colors of lines and markers, in the order in which a chart takes them."""


def light(name):
    """Return a color on a light screen, such as `"#1d4ed8"`, by its name in `PALETTE`."""
    return PALETTE[name][0]


def variables(screen):
    """Return the CSS declarations of all colors.

    Args:
        screen: `"light"` or `"dark"`.
    """
    column = ("light", "dark").index(screen)
    return " ".join(f"--{name}: {colors[column]};" for name, colors in PALETTE.items())


def as_variable(color):
    """Return the CSS variable for a color of a chart, with the color itself for files without the variables.

    Args:
        color: string such as `"#1d4ed8"`. Black and white, which Matplotlib writes by itself, count as ink and paper.

    Returns:
        Text such as `"var(--blue, #1d4ed8)"`; the color itself if it is none of `PALETTE`.
    """
    known = {colors[0]: name for name, colors in PALETTE.items()} | {"#000000": "ink"}
    return f"var(--{known[color]}, {color})" if color in known else color


def contrast(one, other):
    """Return the contrast ratio of two colors, from 1 to 21 (WCAG 2.2, relative luminance).

    Args:
        one, other: strings such as `"#1d4ed8"`.
    """
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(color):
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
