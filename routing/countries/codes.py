"""Country codes (ISO 3166-1 alpha-2), and their form in lists of addresses. Pure rules."""

from typing import Final

PREFIX: Final = "country:"
_ASSIGNED: Final = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO
FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE
JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO
MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW
PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM
TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW
"""
CODES: Final = frozenset(_ASSIGNED.split())
"""The codes of ISO 3166-1, and XK for Kosovo, which databases use."""
_USUAL_MISTAKES: Final = {"UK": "GB", "EL": "GR", "EN": "GB"}


def is_country(entry: str) -> bool:
    """Whether an entry of a list of addresses names a country, with a valid code or not."""
    return entry[: len(PREFIX)].lower() == PREFIX


def parse_country(entry: str) -> str:
    """The code in `country:DE`, in either case. Raises ValueError."""
    code = entry[len(PREFIX) :].upper()
    if code in CODES:
        return code
    if code in _USUAL_MISTAKES:
        raise ValueError(f"{entry!r}: write {PREFIX}{_USUAL_MISTAKES[code]}")
    raise ValueError(f"{entry[:60]!r} is not a country: write two letters of ISO 3166, such as {PREFIX}DE")
