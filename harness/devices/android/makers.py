"""List the settings by which phone makers forbid knobs, with the names in their menus."""

from __future__ import annotations

_MENU = "in Settings → Developer options"
_ADVICE = {
    "xiaomi": f'turn on "USB debugging (Security settings)" {_MENU} (asks for a SIM card and a Mi account)',
    "oppo": f'turn on "Disable permission monitoring" {_MENU}',
    "vivo": f'turn on "USB debugging (Security settings)" or "USB simulated click" {_MENU}',
    "samsung": 'turn off "Auto Blocker" in Settings → Security and privacy',
    "huawei": f'turn on "Allow ADB debugging in charge only mode" {_MENU}',
    "meizu": f'turn on "USB debugging (Security settings)" {_MENU}',
}
_SAME_AS = {"redmi": "xiaomi", "poco": "xiaomi", "realme": "oppo", "oneplus": "oppo", "iqoo": "vivo", "honor": "huawei"}


def setting_to_turn_on(manufacturer: str | None) -> str | None:
    """Return the setting to turn on when this maker's system refuses adb; None if none is known."""
    name = (manufacturer or "").lower()
    return _ADVICE.get(_SAME_AS.get(name, name))
