"""Django reads these names."""

DATE_FORMAT = SHORT_DATE_FORMAT = "j M Y"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "j M Y, H:i:s e"
TIME_FORMAT = "H:i:s"
