package main

import (
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func init() {
	cases["topics_are_created_listed_and_described"] = topicsAreCreatedListedAndDescribed
	cases["bad_topics_are_refused_by_name"] = badTopicsAreRefusedByName
	cases["partitions_are_added"] = partitionsAreAdded
	cases["topics_are_deleted"] = topicsAreDeleted
	cases["offsets_of_topics"] = offsetsOfTopics
	cases["brokers_are_described"] = brokersAreDescribed
	cases["groups_are_listed_described_and_deleted"] = groupsAreListedDescribedAndDeleted
	cases["offsets_of_groups"] = offsetsOfGroups
	cases["configs_are_altered"] = configsAreAltered
	cases["records_are_deleted"] = recordsAreDeleted
	cases["log_dirs_are_described"] = logDirsAreDescribed
}

// A topic with partitions and a setting is listed with both, by the id that its creation gave.
func topicsAreCreatedListedAndDescribed(w *world) {
	configs := map[string]*string{"retention.ms": kadm.StringPtr("7654321")}
	created := must(w.admin().CreateTopic(w.ctx, 3, 1, configs, w.topic))
	equal([]any{created.NumPartitions, created.ReplicationFactor}, []any{int32(3), int16(1)})
	topic := w.listed()
	equal(topic.ID, created.ID)
	equal(topic.Partitions.Numbers(), []int32{0, 1, 2})
	equal(topic.Partitions[2].Replicas, []int32{1})
	retention := w.config("retention.ms")
	equal([]string{retention.MaybeValue(), retention.Source.String()}, []string{"7654321", "DYNAMIC_TOPIC_CONFIG"})
	_, err := w.admin().CreateTopic(w.ctx, 3, 1, nil, w.topic)
	require(errors.Is(err, kerr.TopicAlreadyExists), "created twice: %v", err)
}

func (w *world) listed() kadm.TopicDetail {
	topics := must(w.admin().ListTopics(w.ctx))
	require(topics.Has(w.topic), "not listed")
	return topics[w.topic]
}

func (w *world) config(name string) kadm.Config {
	described := must(must(w.admin().DescribeTopicConfigs(w.ctx, w.topic)).On(w.topic, nil))
	at := slices.IndexFunc(described.Configs, func(each kadm.Config) bool { return each.Key == name })
	require(at >= 0, "%s is not described", name)
	return described.Configs[at]
}

// Bad requests come back as the error of each topic, and validation alone creates nothing.
func badTopicsAreRefusedByName(w *world) {
	refusal := func(partitions int32, replicas int16, configs map[string]*string, topic string) error {
		_, err := w.admin().CreateTopic(w.ctx, partitions, replicas, configs, topic)
		return err
	}
	nonsense := map[string]*string{"no.such.setting": kadm.StringPtr("1")}
	require(errors.Is(refusal(1, 1, nil, "a name with spaces"), kerr.InvalidTopicException), "a bad name")
	require(errors.Is(refusal(0, 1, nil, w.topic), kerr.InvalidPartitions), "no partitions")
	require(errors.Is(refusal(1, 2, nil, w.topic), kerr.InvalidReplicationFactor), "too many replicas")
	require(errors.Is(refusal(1, 1, nonsense, w.topic), kerr.InvalidConfig), "an unknown setting")
	ok(must(w.admin().ValidateCreateTopics(w.ctx, 2, 1, nil, w.topic)).Error())
	require(!must(w.admin().ListTopics(w.ctx)).Has(w.topic), "created by one of them")
}

// A topic grows; it never shrinks.
func partitionsAreAdded(w *world) {
	w.createTopic(1)
	ok(must(w.admin().CreatePartitions(w.ctx, 2, w.topic)).Error())
	w.until(func() bool { return len(w.listed().Partitions) == 3 }, "three partitions")
	err := must(w.admin().UpdatePartitions(w.ctx, 2, w.topic)).Error()
	require(errors.Is(err, kerr.InvalidPartitions), "shrunk: %v", err)
}

// A deleted topic is gone; the same name afterwards is another topic with another id, and empty.
func topicsAreDeleted(w *world) {
	w.createTopic(2)
	w.fill(4, 2)
	before := w.listed().ID
	must(w.admin().DeleteTopic(w.ctx, w.topic))
	w.until(func() bool { return !must(w.admin().ListTopics(w.ctx)).Has(w.topic) }, "the topic is gone")
	_, err := w.admin().DeleteTopic(w.ctx, w.topic)
	require(errors.Is(err, kerr.UnknownTopicOrPartition), "deleted twice: %v", err)
	w.createTopic(1)
	w.until(func() bool { return must(w.admin().ListTopics(w.ctx)).Has(w.topic) }, "the topic is there again")
	require(w.listed().ID != before, "the id of the old topic")
	equal(offsetsOf(must(w.admin().ListEndOffsets(w.ctx, w.topic)), w.topic), map[int32]int64{0: 0})
}

func offsetsOf(listed kadm.ListedOffsets, topic string) map[int32]int64 {
	found := map[int32]int64{}
	for partition, each := range listed[topic] {
		ok(each.Err)
		found[partition] = each.Offset
	}
	return found
}

// Where partitions begin, end, and were at a time; behind the last record a time gives the end.
func offsetsOfTopics(w *world) {
	w.createTopic(2)
	w.fill(10, 2)
	admin := w.admin()
	equal(offsetsOf(must(admin.ListStartOffsets(w.ctx, w.topic)), w.topic), map[int32]int64{0: 0, 1: 0})
	equal(offsetsOf(must(admin.ListEndOffsets(w.ctx, w.topic)), w.topic), map[int32]int64{0: 5, 1: 5})
	equal(offsetsOf(must(admin.ListCommittedOffsets(w.ctx, w.topic)), w.topic), map[int32]int64{0: 5, 1: 5})
	equal(offsetsOf(must(admin.ListOffsetsAfterMilli(w.ctx, 1_700_000_000_000, w.topic)), w.topic), map[int32]int64{0: 0, 1: 0})
	equal(offsetsOf(must(admin.ListOffsetsAfterMilli(w.ctx, 7_000_000_000_000, w.topic)), w.topic), map[int32]int64{0: 5, 1: 5})
}

// The cluster has this broker as its controller, and says which APIs it serves.
func brokersAreDescribed(w *world) {
	metadata := must(w.admin().BrokerMetadata(w.ctx))
	equal([]any{len(metadata.Brokers), metadata.Controller, len(metadata.Cluster)}, []any{1, int32(1), 22})
	versions := must(w.admin().ApiVersions(w.ctx))
	ok(versions[1].Err)
	ours := versions[1]
	highest, known := ours.KeyMaxVersion(0)
	require(known && highest >= 13, "Produce to %d", highest)
	configs := must(must(w.admin().DescribeBrokerConfigs(w.ctx, 1)).On("1", nil))
	at := slices.IndexFunc(configs.Configs, func(each kadm.Config) bool { return each.Key == "num.partitions" })
	equal(configs.Configs[at].MaybeValue(), "1")
}

// A group with a member is Stable and cannot be deleted, one without is Empty and can.
func groupsAreListedDescribedAndDeleted(w *world) {
	w.createTopic(2)
	w.fill(2, 2)
	member := w.member()
	w.read(member, 2)
	group := must(w.admin().DescribeGroups(w.ctx, w.group))[w.group]
	ok(group.Err)
	equal([]string{group.State, group.ProtocolType, group.Protocol}, []string{"Stable", "consumer", "cooperative-sticky"})
	equal([]any{len(group.Members), group.Members[0].ClientID}, []any{1, "ottla-tests"})
	assigned, _ := group.Members[0].Assigned.AsConsumer()
	equal(len(assigned.Topics[0].Partitions), 2)
	equal(must(w.admin().ListGroups(w.ctx, "Stable"))[w.group].ProtocolType, "consumer")
	_, err := w.admin().DeleteGroup(w.ctx, w.group)
	require(errors.Is(err, kerr.NonEmptyGroup), "deleted with a member: %v", err)
	ok(member.LeaveGroupContext(w.ctx))
	equal(must(w.admin().DescribeGroups(w.ctx, w.group))[w.group].State, "Empty")
	must(w.admin().DeleteGroup(w.ctx, w.group))
	require(!slices.Contains(must(w.admin().ListGroups(w.ctx)).Groups(), w.group), "still listed")
	_, err = w.admin().DeleteGroup(w.ctx, w.group)
	require(errors.Is(err, kerr.GroupIDNotFound), "deleted twice: %v", err)
}

// Offsets of a group without members are committed, fetched, counted as lag and deleted.
func offsetsOfGroups(w *world) {
	w.createTopic(2)
	w.fill(20, 2)
	var wanted kadm.Offsets
	wanted.Add(kadm.Offset{Topic: w.topic, Partition: 0, At: 3, LeaderEpoch: -1, Metadata: "by hand"})
	wanted.AddOffset(w.topic, 1, 7, -1)
	ok(w.admin().CommitAllOffsets(w.ctx, w.group, wanted))
	fetched := must(w.admin().FetchOffsets(w.ctx, w.group))
	first, _ := fetched.Lookup(w.topic, 0)
	second, _ := fetched.Lookup(w.topic, 1)
	equal([]any{first.At, first.Metadata, second.At, len(fetched)}, []any{int64(3), "by hand", int64(7), 1})
	lag := must(w.admin().Lag(w.ctx, w.group))[w.group]
	ok(lag.Error())
	equal([]any{lag.State, lag.Lag.Total()}, []any{"Empty", int64(7 + 3)})
	var zero kadm.TopicsSet
	zero.Add(w.topic, 0)
	ok(must(w.admin().DeleteOffsets(w.ctx, w.group, zero)).Error())
	_, found := must(w.admin().FetchOffsets(w.ctx, w.group)).Lookup(w.topic, 0)
	require(!found, "still there after its deletion")
	var nowhere kadm.Offsets
	nowhere.AddOffset(w.topic, 9, 1, -1)
	err := w.admin().CommitAllOffsets(w.ctx, w.group, nowhere)
	require(errors.Is(err, kerr.UnknownTopicOrPartition), "committed for a partition that is not there: %v", err)
}

// One setting is altered and taken back, and the others stay; a bad value changes nothing.
func configsAreAltered(w *world) {
	w.createTopic(1)
	alter := func(configs ...kadm.AlterConfig) error {
		return must(must(w.admin().AlterTopicConfigs(w.ctx, configs, w.topic)).On(w.topic, nil)).Err
	}
	ok(alter(
		kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("1234567")},
		kadm.AlterConfig{Op: kadm.SetConfig, Name: "max.message.bytes", Value: kadm.StringPtr("2097152")},
	))
	ok(alter(kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "retention.ms"}))
	retention, size := w.config("retention.ms"), w.config("max.message.bytes")
	equal([]string{retention.MaybeValue(), retention.Source.String()}, []string{"604800000", "DEFAULT_CONFIG"})
	equal([]string{size.MaybeValue(), size.Source.String()}, []string{"2097152", "DYNAMIC_TOPIC_CONFIG"})
	err := alter(kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("a week")})
	require(errors.Is(err, kerr.InvalidConfig), "a week: %v", err)
}

// The beginning of a partition moves, and who reads from the start begins there.
func recordsAreDeleted(w *world) {
	w.createTopic(1)
	w.fill(10, 1)
	var before kadm.Offsets
	before.AddOffset(w.topic, 0, 6, -1)
	answers := must(w.admin().DeleteRecords(w.ctx, before))
	answer := must(answers.On(w.topic, 0, nil))
	ok(answer.Err)
	equal(answer.LowWatermark, int64(6))
	equal(offsetsOf(must(w.admin().ListStartOffsets(w.ctx, w.topic)), w.topic), map[int32]int64{0: 6})
	equal(texts(w.readAll(4)), numbers(6, 10))
}

// The log directory holds both partitions; the one with records has a size.
func logDirsAreDescribed(w *world) {
	w.createTopic(2)
	w.fill(10, 1)
	described := must(w.admin().DescribeAllLogDirs(w.ctx, must(w.admin().ListTopics(w.ctx, w.topic)).TopicsSet()))
	ok(described[1].Error())
	equal(len(described[1]), 1)
	sizes := map[int32]bool{}
	described[1].EachPartition(func(each kadm.DescribedLogDirPartition) { sizes[each.Partition] = each.Size > 0 })
	equal(sizes, map[int32]bool{0: true, 1: false})
}
