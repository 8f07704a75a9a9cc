"""The methods of the companion specification, as orders to the station and questions to this lane's memory.

A method that is refused has a bad status code and no output; why stands in the variable LastRefusal, and in an event
of VisionInformationEventType. One that is carried out has Error = 0.
"""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol

from asyncua import ua

from edge import orders
from edge.events import Event
from edge.lanes import opcua_arguments as arguments
from edge.lanes import opcua_types
from edge.lanes.opcua_arguments import Refusal, Wanted
from edge.lanes.opcua_result import Described, describe
from edge.lanes.opcua_space import Method, Space
from edge.lanes.opcua_types import words
from edge.orders import AnyOrder

# OPC 40100-1: 0 is success.
SUCCESS = ua.Variant(0, ua.VariantType.Int32)
# A page of results is a message of about 400 KiB.
MOST_RESULTS = 100
# A client that waits for a result holds one of the calls that it may have under way.
LONGEST_WAIT_S = 5.0
WAIT_STEP_S = 0.01
# OPC 40100-1, 7.10.2.1: a time-out below 0 is that of a client which cannot say how long it needs a result.
LEAST_TIMEOUT_MS = -(2**31)
# What a recipe and its variant are parted by in one id.
VARIANT_MARK = "/"
AUTOMATIC = "VisionStateMachine.AutomaticModeStateMachine"


class Lane(Protocol):
    """What the methods need of the lane."""

    @property
    def channels(self) -> tuple[str, ...]:
        """What it speaks of."""
        ...

    @property
    def job(self) -> str:
        """What is being judged by."""
        ...

    @property
    def variant(self) -> str:
        """What is expected of a part that nothing else is said of; empty: nothing."""
        ...

    async def order(self, order: AnyOrder) -> dict[str, Any]:
        """Have it carried out, and return the answer. Raises Refusal."""
        ...

    def find(self, trigger_id: int) -> Event | None:
        """The result of a trigger."""
        ...

    def newest_first(self) -> Iterator[Event]:
        """The results that are kept."""
        ...

    async def refused(self, text: str) -> None:
        """Tell why a method was not carried out."""
        ...


Answer = Callable[..., Coroutine[Any, Any, list[ua.Variant]]]


class Methods:
    """Every method of the address space."""

    def __init__(self, lane: Lane) -> None:
        """Nothing is linked yet."""
        self._lane = lane

    async def link(self, space: Space) -> None:
        """From now on clients can call them."""
        table: dict[str, Answer] = {
            "VisionStateMachine.Halt": self._halt,
            "VisionStateMachine.Reset": self._reset,
            f"{AUTOMATIC}.Stop": self._stop,
            f"{AUTOMATIC}.Abort": self._stop,
            f"{AUTOMATIC}.StartContinuous": self._start_continuous,
            f"{AUTOMATIC}.StartSingleJob": self._start_single_job,
            "RecipeManagement.PrepareRecipe": self._prepare_recipe,
            "RecipeManagement.UnprepareRecipe": self._unprepare_recipe,
            "RecipeManagement.GetRecipeListFiltered": self._recipes,
            "ResultManagement.GetResultById": self._result,
            "ResultManagement.GetResultComponentsById": self._components,
            "ResultManagement.GetResultListFiltered": self._results,
        }
        for path, answer in table.items():
            await space.link(path, self._answered(answer))
        takes: dict[str, ua.VariantType] = dict.fromkeys(("Channel", "UnitIdentifier", "Expect"), ua.VariantType.String)
        gives = {"TriggerId": ua.VariantType.UInt64}
        await space.add_method("Trigger", self._answered(self._trigger), takes, gives)
        await space.add_method("Announce", self._answered(self._announce), takes, {})

    def _answered(self, answer: Answer) -> Method:
        # asyncua does not count the arguments.
        wanted = len(inspect.signature(answer).parameters)

        async def call(_parent: ua.NodeId, *given: ua.Variant) -> ua.CallMethodResult:
            made = ua.CallMethodResult()
            if len(given) != wanted:
                is_short = len(given) < wanted
                codes = words.StatusCodes
                made.StatusCode = words.StatusCode(codes.BadArgumentsMissing if is_short else codes.BadTooManyArguments)
                return made
            try:
                made.OutputArguments = await answer(*given)
            except Refusal as refusal:
                made.StatusCode = words.StatusCode(refusal.code)
                await self._lane.refused(str(refusal))
            return made

        return call

    # --- the state machines

    async def _halt(self, _cause: ua.Variant, _description: ua.Variant) -> list[ua.Variant]:
        await self._lane.order(orders.HaltOrder())
        return [SUCCESS]

    async def _reset(self, _cause: ua.Variant, _description: ua.Variant) -> list[ua.Variant]:
        await self._lane.order(orders.ResetOrder())
        return [SUCCESS]

    async def _stop(self, _cause: ua.Variant, _description: ua.Variant) -> list[ua.Variant]:
        await self._lane.order(orders.StopOrder())
        return [SUCCESS]

    async def _start_continuous(
        self, _meas: ua.Variant, _part: ua.Variant, recipe: ua.Variant, product: ua.Variant, _parameters: ua.Variant
    ) -> list[ua.Variant]:
        self._check_recipe(recipe, product)
        await self._lane.order(orders.StartOrder())
        return [arguments.job_id(self._lane.job), SUCCESS]

    async def _start_single_job(
        self, _meas: ua.Variant, part: ua.Variant, recipe: ua.Variant, product: ua.Variant, parameters: ua.Variant
    ) -> list[ua.Variant]:
        self._check_recipe(recipe, product)
        expect = arguments.pairs(arguments.texts(parameters))
        channel = self._channel(expect.pop("channel", ""))
        order = arguments.checked(
            orders.StartSingleOrder, camera=channel, unit_identifier=opcua_types.id_of(part), expect=expect
        )
        answer = await self._lane.order(order)
        return [arguments.job_id(str(answer.get("trigger_id") or self._lane.job)), SUCCESS]

    def _check_recipe(self, *given: ua.Variant) -> None:
        """A job is started with what is prepared. Naming something else does not prepare it."""
        product = self._lane.job.partition("/")[0]
        prepared = f"{product}{VARIANT_MARK}{self._lane.variant}".removesuffix(VARIANT_MARK)
        for argument in given:
            name = opcua_types.id_of(argument)
            if name is not None and name.removesuffix(VARIANT_MARK) not in (product, prepared):
                raise Refusal(words.StatusCodes.BadInvalidArgument, f"{name} is not prepared: {prepared} is")

    # --- recipes

    async def _prepare_recipe(self, external: ua.Variant, internal: ua.Variant) -> list[ua.Variant]:
        name = opcua_types.id_of(external) or opcua_types.id_of(internal)
        if name is None:
            raise Refusal(words.StatusCodes.BadInvalidArgument, "name the product as the Id of ExternalId")
        product, _, variant = name.partition(VARIANT_MARK)
        answer = await self._lane.order(
            arguments.checked(orders.PrepareOrder, product=product, variant=variant or None)
        )
        return [arguments.recipe_id(answer.get("job") or {"product": product}), ua.Variant(True), SUCCESS]

    async def _unprepare_recipe(self, _external: ua.Variant, _internal: ua.Variant) -> list[ua.Variant]:
        raise Refusal(words.StatusCodes.BadNotSupported, "one product is always prepared: prepare another")

    async def _recipes(
        self,
        _external: ua.Variant,
        _product: ua.Variant,
        _is_prepared: ua.Variant,
        _most: ua.Variant,
        _start: ua.Variant,
        _timeout: ua.Variant,
    ) -> list[ua.Variant]:
        prepared = arguments.recipe_id({"product": self._lane.job.partition("/")[0]}).Value
        recipes = ua.Variant([prepared], ua.VariantType.ExtensionObject, is_array=True)
        return [ua.Variant(True), arguments.count(1), arguments.handle(), recipes, SUCCESS]

    # --- results

    async def _result(self, result_id: ua.Variant, wait_ms: ua.Variant) -> list[ua.Variant]:
        described = await self._found(result_id, wait_ms)
        return [arguments.handle(), arguments.structure(opcua_types.result(described)), SUCCESS]

    async def _components(self, result_id: ua.Variant, wait_ms: ua.Variant) -> list[ua.Variant]:
        made = opcua_types.result(await self._found(result_id, wait_ms))
        parts = [opcua_types.variant_of(getattr(made, name)) for name in opcua_types.RESULT_FIELDS]
        return [ua.Variant(False), arguments.handle(), *parts, SUCCESS]

    async def _results(  # noqa: PLR0913, PLR0917 - the specification's arguments
        self,
        state: ua.Variant,
        _meas: ua.Variant,
        part: ua.Variant,
        external: ua.Variant,
        internal: ua.Variant,
        _external_configuration: ua.Variant,
        configuration: ua.Variant,
        product: ua.Variant,
        job: ua.Variant,
        most: ua.Variant,
        start: ua.Variant,
        _timeout: ua.Variant,
    ) -> list[ua.Variant]:
        wanted = Wanted(
            state=arguments.number(state),
            part=opcua_types.id_of(part),
            products=tuple(filter(None, map(opcua_types.id_of, (external, internal, product)))),
            configuration=opcua_types.id_of(configuration),
            job=opcua_types.id_of(job),
        )
        matching = (event for event in self._lane.newest_first() if wanted.matches(event))
        first, count = arguments.number(start), min(arguments.number(most) or MOST_RESULTS, MOST_RESULTS)
        found = list(islice(matching, first, first + count + 1))
        now = datetime.now(UTC)
        listed = [opcua_types.result(describe(event, now)) for event in found[:count]]
        results = ua.Variant(listed, ua.VariantType.ExtensionObject, is_array=True)
        return [ua.Variant(len(found) <= count), arguments.count(len(listed)), arguments.handle(), results, SUCCESS]

    async def _found(self, result_id: ua.Variant, wait_ms: ua.Variant) -> Described:
        """The result of this id; where it is not there yet, for as long as the client wants to wait."""
        name = opcua_types.id_of(result_id) or ""
        if not name.isdecimal():
            raise Refusal(words.StatusCodes.BadInvalidArgument, f"{name!r} is no result's id")
        patience_s = min(LONGEST_WAIT_S, max(0, arguments.number(wait_ms, LEAST_TIMEOUT_MS)) / 1000)
        until = asyncio.get_running_loop().time() + patience_s
        while (event := self._lane.find(int(name))) is None:
            if asyncio.get_running_loop().time() >= until:
                raise Refusal(words.StatusCodes.BadNotFound, f"no result {name}: the newest thousand are kept")
            await asyncio.sleep(WAIT_STEP_S)
        return describe(event, datetime.now(UTC))

    # --- our own

    async def _trigger(self, channel: ua.Variant, unit: ua.Variant, expect: ua.Variant) -> list[ua.Variant]:
        order = arguments.checked(orders.TriggerOrder, **self._unit(channel, unit, expect))
        answer = await self._lane.order(order)
        return [ua.Variant(int(answer["trigger_id"]), ua.VariantType.UInt64)]

    async def _announce(self, channel: ua.Variant, unit: ua.Variant, expect: ua.Variant) -> list[ua.Variant]:
        await self._lane.order(arguments.checked(orders.AnnounceOrder, **self._unit(channel, unit, expect)))
        return []

    def _unit(self, channel: ua.Variant, unit: ua.Variant, expect: ua.Variant) -> dict[str, Any]:
        return {
            "camera": self._channel(str(channel.Value or "")),
            "unit_identifier": str(unit.Value) if unit.Value else None,
            "expect": arguments.pairs(tuple(part for part in str(expect.Value or "").split(",") if part)),
        }

    def _channel(self, name: str) -> str:
        """The channel of this name; without one, the only one."""
        channels = self._lane.channels
        if not name and len(channels) == 1:
            return channels[0]
        if name not in channels:
            raise Refusal(
                words.StatusCodes.BadInvalidArgument, f"unknown channel {name!r}: known are {', '.join(channels)}"
            )
        return name
