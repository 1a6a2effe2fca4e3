"""Numbers as the dashboard's pages write them."""

from decimal import Decimal

from django.utils.formats import number_format


def decimal_text(value: float, digits: int) -> str:
    """Rounded, in the page's language. `number_format` alone cuts off what is left."""
    return number_format(Decimal(f"{value:.{digits}f}"), digits, force_grouping=True)
