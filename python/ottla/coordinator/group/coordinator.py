"""The group coordinator as handlers see it: one method per request, each ends in exactly one answer.

Finds the shard of a group, checks what does not need one, and turns a refusal of the runtime into the answer Apache
Kafka gives for it (GroupCoordinatorService): every request has its own shape of "no".

The shard of a group is the partition of `__consumer_offsets` that its id falls on (`coordinator.key_partition`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from ottla.coordinator.batch import append_error
from ottla.coordinator.group.consumer.heartbeat import check_request
from ottla.coordinator.group.machine import GroupMachine
from ottla.coordinator.group.members import Reply
from ottla.coordinator.group.settings import GroupSettings
from ottla.coordinator.group.transactions import GroupTransactions
from ottla.coordinator.key_partition import partition_for
from ottla.coordinator.runtime import CoordinatorRuntime, RuntimeSettings
from ottla.coordinator.shard import Result
from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    ConsumerGroupDescribeResponse,
    ConsumerGroupDescribeResponseDescribedGroup,
    ConsumerGroupHeartbeatResponse,
    DeleteGroupsResponse,
    DeleteGroupsResponseDeletableGroupResult,
    DescribeGroupsResponse,
    DescribeGroupsResponseDescribedGroup,
    HeartbeatResponse,
    JoinGroupResponse,
    LeaveGroupResponse,
    ListGroupsResponse,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
    OffsetDeleteResponse,
    OffsetFetchResponseGroup,
    SyncGroupResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from msgspec import Struct

    from ottla.coordinator.group.consumer.topics import Cluster
    from ottla.coordinator.shard import RuntimeStatus
    from ottla.messages import (
        ConsumerGroupHeartbeatRequest,
        HeartbeatRequest,
        JoinGroupRequest,
        LeaveGroupRequest,
        ListGroupsRequest,
        OffsetCommitRequest,
        OffsetDeleteRequest,
        OffsetFetchRequestGroup,
        SyncGroupRequest,
    )
    from ottla.types import Answer, Clock, Codec, Journal, Random, RequestContext, Scheduler

OFFSETS_TOPIC: Final = "__consumer_offsets"


class GroupCoordinator:
    """All groups of this broker.

    `load` and `unload` follow the leadership of the topic's partitions; `flush_turn` is called at the end of every
    turn of the loop, after requests, commits and deadlines.
    """

    def __init__(
        self,
        journals: Callable[[int], Journal],
        partition_count: int,
        codec: Codec,
        scheduler: Scheduler,
        clock: Clock,
        random: Random,
        cluster: Cluster,
        settings: GroupSettings | None = None,
    ) -> None:
        settings = settings or GroupSettings()
        self._cluster = cluster
        self._settings = settings
        self.partition_count = partition_count
        self._runtime: CoordinatorRuntime[GroupMachine] = CoordinatorRuntime(
            topic_kind="group",
            journals=journals,
            make=lambda shard: GroupMachine(
                shard, cluster=cluster, codec=codec, clock=clock, random=random, settings=settings
            ),
            codec=codec,
            clock=clock,
            scheduler=scheduler,
            settings=RuntimeSettings(
                batch_bytes_max=settings.batch_bytes_max, commit_timeout_ms=settings.offset_commit_timeout_ms
            ),
        )
        # Offsets committed in producers' transactions, and the ends of those.
        self.transactions = GroupTransactions(self._runtime, OFFSETS_TOPIC, self.partition_for)

    @property
    def status(self) -> RuntimeStatus:
        """For people and tests."""
        return self._runtime.status

    def partition_for(self, group_id: str) -> int:
        """Which partition of the offsets topic a group lives on."""
        return partition_for(group_id, self.partition_count)

    def load(self, partition: int) -> None:
        """This broker leads the partition now."""
        self._runtime.load(partition)

    def unload(self, partition: int) -> None:
        """It does not any more."""
        self._runtime.unload(partition)

    def flush_turn(self) -> None:
        """The turn of the loop is over: write what it decided."""
        self._runtime.flush_turn()

    def on_topics_deleted(self, topic_ids_by_name: dict[str, bytes]) -> None:
        """Topics were deleted: nothing committed for them means anything now, loaded already or not."""
        self._runtime.write_all(lambda machine: machine.offsets.delete_topics(topic_ids_by_name))

    def on_topics_changed(self, names: AbstractSet[str], *, created: bool) -> None:
        """These topics were created, changed or deleted: what groups of the consumer protocol assign may change."""
        self._cluster.on_topics_changed(names, created=created)
        machines, _ = self._runtime.machines()
        for machine in machines:
            machine.consumers.on_topics_changed(names)

    # The consumer protocol.

    def consumer_group_heartbeat(
        self, context: RequestContext, request: ConsumerGroupHeartbeatRequest, answer: Answer
    ) -> None:
        """ConsumerGroupHeartbeat."""
        try:
            check_request(request, context.api_version, self._settings.consumer_assignors)
        except RequestError as error:
            answer(ConsumerGroupHeartbeatResponse(error_code=error.code, error_message=error.message))
            return

        def refuse(code: ErrorCode) -> None:
            code = append_error(code)
            answer(ConsumerGroupHeartbeatResponse(error_code=code, error_message=code.message))

        self._runtime.write(
            self.partition_for(request.group_id),
            lambda machine: machine.consumers.heartbeats.heartbeat(context, request),
            answer,
            refuse,
        )

    def describe_consumer_groups(self, group_ids: Sequence[str], answer: Answer) -> None:
        """ConsumerGroupDescribe, in the order asked for."""
        found: dict[str, ConsumerGroupDescribeResponseDescribedGroup] = {}
        for group_id in dict.fromkeys(group_ids):
            if group_id:
                self._describe_consumer_group(group_id, found)
            else:
                found[group_id] = ConsumerGroupDescribeResponseDescribedGroup(error_code=ErrorCode.INVALID_GROUP_ID)
        answer(ConsumerGroupDescribeResponse(groups=[found[group_id] for group_id in group_ids]))

    def _describe_consumer_group(
        self, group_id: str, found: dict[str, ConsumerGroupDescribeResponseDescribedGroup]
    ) -> None:
        def receive(response: Struct) -> None:
            assert isinstance(response, ConsumerGroupDescribeResponse)
            (found[group_id],) = response.groups

        def refuse(code: ErrorCode) -> None:
            found[group_id] = ConsumerGroupDescribeResponseDescribedGroup(
                group_id=group_id, error_code=append_error(code)
            )

        self._runtime.read(
            self.partition_for(group_id),
            lambda machine: ConsumerGroupDescribeResponse(groups=machine.consumer_groups_described([group_id])),
            receive,
            refuse,
        )

    # The classic protocol.

    def join_group(self, context: RequestContext, request: JoinGroupRequest, answer: Answer) -> None:
        """JoinGroup. May answer much later."""

        def refusal(code: ErrorCode) -> JoinGroupResponse:
            return JoinGroupResponse(error_code=code, member_id=request.member_id, protocol_name=None)

        settings = self._settings
        if not request.group_id:
            answer(refusal(ErrorCode.INVALID_GROUP_ID))
        elif not settings.session_timeout_ms_min <= request.session_timeout_ms <= settings.session_timeout_ms_max:
            answer(refusal(ErrorCode.INVALID_SESSION_TIMEOUT))
        else:
            reply = Reply(answer)
            self._runtime.write(
                self.partition_for(request.group_id),
                lambda machine: machine.join(context, request, reply),
                None,
                lambda code: reply(refusal(append_error(code))),
            )

    def sync_group(self, _context: RequestContext, request: SyncGroupRequest, answer: Answer) -> None:
        """SyncGroup. Waits for the leader's."""
        if not request.group_id:
            answer(SyncGroupResponse(error_code=ErrorCode.INVALID_GROUP_ID))
            return
        reply = Reply(answer)
        self._runtime.write(
            self.partition_for(request.group_id),
            lambda machine: machine.sync(request, reply),
            None,
            lambda code: reply(SyncGroupResponse(error_code=append_error(code))),
        )

    def heartbeat(self, _context: RequestContext, request: HeartbeatRequest, answer: Answer) -> None:
        """Heartbeat."""
        if not request.group_id:
            answer(HeartbeatResponse(error_code=ErrorCode.INVALID_GROUP_ID))
            return

        def refuse(code: ErrorCode) -> None:
            if code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
                # The member may well be in the part that is not loaded yet: old clients know no better answer.
                code = ErrorCode.NONE
            answer(HeartbeatResponse(error_code=append_error(code)))

        self._runtime.write(
            self.partition_for(request.group_id), lambda machine: machine.heartbeat(request), answer, refuse
        )

    def leave_group(self, _context: RequestContext, request: LeaveGroupRequest, answer: Answer) -> None:
        """LeaveGroup, in the form of v3: `members`."""
        if not request.group_id:
            answer(LeaveGroupResponse(error_code=ErrorCode.INVALID_GROUP_ID))
            return
        self._runtime.write(
            self.partition_for(request.group_id),
            lambda machine: machine.leave(request),
            answer,
            lambda code: answer(LeaveGroupResponse(error_code=append_error(code))),
        )

    # Offsets.

    def commit_offsets(self, context: RequestContext, request: OffsetCommitRequest, answer: Answer) -> None:
        """OffsetCommit, of topics and partitions that exist; the empty group id is one like any other, as in Kafka."""

        def refuse(code: ErrorCode) -> None:
            answer(commit_refusal(request, append_error(code)))

        self._runtime.write(
            self.partition_for(request.group_id),
            lambda machine: machine.offsets.commit(request, context.api_version),
            answer,
            refuse,
        )

    def fetch_offsets(
        self,
        request: OffsetFetchRequestGroup,
        require_stable: bool,
        answer: Callable[[OffsetFetchResponseGroup], None],
        *,
        current_id: Callable[[str], bytes],
    ) -> None:
        """OffsetFetch for one group. `current_id`: of the topic that has a name now, zero if none has."""

        def refuse(code: ErrorCode) -> None:
            answer(OffsetFetchResponseGroup(group_id=request.group_id, error_code=append_error(code)))

        def receive(response: Struct) -> None:
            assert isinstance(response, OffsetFetchResponseGroup)
            answer(response)

        partition = self.partition_for(request.group_id)
        if require_stable:
            self._runtime.write(
                partition,
                lambda machine: Result(response=machine.offsets.fetch(request, current_id, committed_only=False)),
                receive,
                refuse,
            )
        else:
            self._runtime.read(
                partition,
                lambda machine: machine.offsets.fetch(request, current_id, committed_only=True),
                receive,
                refuse,
            )

    def delete_offsets(self, request: OffsetDeleteRequest, answer: Answer) -> None:
        """OffsetDelete, of topics and partitions that exist."""
        if not request.group_id:
            answer(OffsetDeleteResponse(error_code=ErrorCode.INVALID_GROUP_ID))
            return
        self._runtime.write(
            self.partition_for(request.group_id),
            lambda machine: machine.offsets.delete(request),
            answer,
            lambda code: answer(OffsetDeleteResponse(error_code=append_error(code))),
        )

    def delete_groups(self, group_ids: Sequence[str], answer: Answer) -> None:
        """DeleteGroups, in the order asked for, each group once; waits for every shard."""
        by_partition: defaultdict[int, list[str]] = defaultdict(list)
        found: dict[str, DeleteGroupsResponseDeletableGroupResult] = {}
        for group_id in dict.fromkeys(group_ids):
            by_partition[self.partition_for(group_id)].append(group_id)

        def receive(results: list[DeleteGroupsResponseDeletableGroupResult]) -> None:
            found.update((result.group_id, result) for result in results)
            if len(found) == sum(map(len, by_partition.values())):
                answer(DeleteGroupsResponse(results=[found[group_id] for group_id in dict.fromkeys(group_ids)]))

        if not group_ids:
            answer(DeleteGroupsResponse())
        for partition, ids in by_partition.items():
            self._delete_on_shard(partition, ids, receive)

    def _delete_on_shard(
        self,
        partition: int,
        group_ids: list[str],
        receive: Callable[[list[DeleteGroupsResponseDeletableGroupResult]], None],
    ) -> None:
        def succeed(response: Struct) -> None:
            assert isinstance(response, DeleteGroupsResponse)
            receive(response.results)

        def refuse(code: ErrorCode) -> None:
            code = append_error(code)
            receive([DeleteGroupsResponseDeletableGroupResult(group_id=each, error_code=code) for each in group_ids])

        self._runtime.write(partition, lambda machine: machine.delete(group_ids), succeed, refuse)

    # What others ask about groups.

    def list_groups(self, request: ListGroupsRequest, answer: Answer) -> None:
        """ListGroups, of the shards that are here. Filters do not care about case."""
        machines, loading = self._runtime.machines()
        if loading:
            answer(ListGroupsResponse(error_code=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS))
            return
        states = frozenset(state.lower() for state in request.states_filter)
        types = frozenset(kind.lower() for kind in request.types_filter)
        groups = [group for machine in machines for group in machine.listed(states, types)]
        answer(ListGroupsResponse(groups=groups))

    def describe_groups(self, group_ids: Sequence[str], api_version: int, answer: Answer) -> None:
        """DescribeGroups, in the order asked for."""
        by_partition: defaultdict[int, list[str]] = defaultdict(list)
        for group_id in group_ids:
            by_partition[self.partition_for(group_id)].append(group_id)
        found: dict[str, DescribeGroupsResponseDescribedGroup] = {}
        for partition, ids in by_partition.items():
            self._describe_shard(partition, ids, api_version, found)
        answer(DescribeGroupsResponse(groups=[found[group_id] for group_id in group_ids]))

    def _describe_shard(
        self,
        partition: int,
        group_ids: list[str],
        api_version: int,
        found: dict[str, DescribeGroupsResponseDescribedGroup],
    ) -> None:
        def receive(response: Struct) -> None:
            assert isinstance(response, DescribeGroupsResponse)
            found.update((group.group_id, group) for group in response.groups)

        def refuse(code: ErrorCode) -> None:
            for group_id in group_ids:
                found[group_id] = DescribeGroupsResponseDescribedGroup(group_id=group_id, error_code=append_error(code))

        self._runtime.read(
            partition,
            lambda machine: DescribeGroupsResponse(groups=machine.described(group_ids, api_version)),
            receive,
            refuse,
        )


def commit_refusal(request: OffsetCommitRequest, code: ErrorCode) -> OffsetCommitResponse:
    """The same code for every partition of an OffsetCommit: the response has no place for one code of all."""
    return OffsetCommitResponse(
        topics=[
            OffsetCommitResponseTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    OffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code)
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
