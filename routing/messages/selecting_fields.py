"""Request fields by which backends choose what they respond, often without naming them in Vary."""

from typing import Final

_NAMES: Final = """
a-im accept-crs accept-datetime accept-profile accept-version anthropic-beta anthropic-version api-version
elastic-api-version hx-boosted hx-request hx-target linkedin-version next-router-prefetch next-router-segment-prefetch
next-router-state-tree next-url notion-version openai-beta prefer rsc sforce-call-options sforce-query-options
square-version stripe-version surrogate-capability translate turbo-frame x-accel-mapping x-api-version x-currency
x-experience-api-version x-github-api-version x-goog-fieldmask x-inertia x-inertia-partial-component
x-inertia-partial-data x-inertia-version x-lang x-language x-locale x-ms-version x-nextjs-data x-pjax x-pjax-container
x-requested-with x-restli-protocol-version x-sendfile-type x-shopify-api-version x-time-zone x-timezone x-up-target
x-up-version
"""
SELECTING_FIELDS: Final = frozenset(name.encode() for name in _NAMES.split())
"""The version of an API, a mask of fields, a schema, a preference, a part of a page, or what a proxy ahead does with
responses (Rack and Symfony believe any client): the same URI has another response with each value, so that these fields
are part of a cache key.
"""
