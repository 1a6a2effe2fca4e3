"""`/metrics/cache`: usage, invalidation and warming of the cache."""

from typing import ClassVar, Final

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from metrics import selectors, services
from metrics.api import access, examples, serializers
from metrics.api.base import (
    LimitedReadView,
    MetricsView,
    Parameters,
    documented,
    response_example,
    validate_body,
    validate_query,
)
from routing.rights import Right

RESET_MESSAGE: Final = "cache statistics reset"


class CacheView(LimitedReadView):
    parameters: ClassVar[Parameters] = {"DELETE": serializers.DryRunQuery}

    @documented(
        "cache",
        serializers.CacheOutput,
        {
            "connected": True,
            "stats": examples.HITS,
            "entries": 21,
            "bytes": 48_213,
            "byService": {"crmIntelligence": {**examples.HITS, "entries": 21, "bytes": 48_213}},
        },
    )
    def get(self, request: Request) -> Response:
        """Get the size of the cache, and its hits and misses since the statistics were reset."""
        return Response(serializers.CacheOutput(selectors.cache_usage(access.visible(request))).data)

    @extend_schema(parameters=[serializers.DryRunQuery])
    @documented("emptyCache", serializers.KeysDeletedOutput, {"keysDeleted": 21})
    def delete(self, request: Request) -> Response:
        """Flush the cache of all services. With `dry_run`, only count its entries."""
        dry_run = validate_query(serializers.DryRunQuery, request)["dry_run"]
        return Response({"keysDeleted": services.flush(access.request_actor(request), dry_run=dry_run)})


class CacheResetView(MetricsView):
    @documented("resetCacheStatistics", serializers.MessageOutput, {"message": RESET_MESSAGE})
    def post(self, request: Request) -> Response:
        """Reset the hit and miss counts. Cache entries are kept."""
        services.reset_cache_statistics(access.request_actor(request))
        return Response({"message": RESET_MESSAGE})


class CacheWarmView(MetricsView):
    limited = ("POST",)
    parameters: ClassVar[Parameters] = {"POST": serializers.DryRunQuery}

    @extend_schema(parameters=[serializers.DryRunQuery])
    @documented(
        "warmCache",
        serializers.WarmOutput,
        {"warmed": 20, "failed": 0},
        code=202,
        body=serializers.WarmInput,
        examples=[
            response_example({"warmed": 0, "failed": 0, "wouldWarm": 2}, 202, "dry run"),
            OpenApiExample("paths", value={"paths": examples.PATHS}, request_only=True),
            OpenApiExample("dry run of paths", value={"paths": examples.PATHS, "dry_run": True}, request_only=True),
        ],
    )
    def post(self, request: Request) -> Response:
        """Fetch paths into the cache, or the most-hit responses of the last day if no paths are given.

        Given paths are fetched for clients that use the scheme and host of this request, and their responses must be
        shared by all callers; the most-hit responses are fetched again each as the
        caller they belong to. With `dry_run`, in the body or the query, nothing is fetched: the response is how many
        would be.
        """
        data = validate_body(serializers.WarmInput, request.data)
        dry_run = data["dry_run"] or validate_query(serializers.DryRunQuery, request)["dry_run"]
        address = f"{request.scheme}://{request.get_host()}"
        names = access.visible(request, Right.OPERATE)
        result = services.warm(
            access.request_actor(request), data["paths"], address=address, dry_run=dry_run, names=names
        )
        return Response(serializers.WarmOutput(result).data, status=status.HTTP_202_ACCEPTED)


class CacheServiceView(MetricsView):
    limited = ("DELETE",)
    parameters: ClassVar[Parameters] = {"DELETE": serializers.InvalidateQuery}

    @extend_schema(parameters=[serializers.InvalidateQuery])
    @documented(
        "invalidateService",
        serializers.ServiceKeysDeletedOutput,
        {"service": "crmIntelligence", "keysDeleted": 3},
    )
    def delete(self, request: Request, service: str) -> Response:
        """Invalidate a service's cache entries: all, or those with a tag. With `dry_run`, only count them."""
        data = validate_query(serializers.InvalidateQuery, request)
        deleted = services.invalidate(access.request_actor(request), service, data["tag"], dry_run=data["dry_run"])
        return Response({"service": service, "keysDeleted": deleted})
