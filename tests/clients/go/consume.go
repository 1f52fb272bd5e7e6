package main

import (
	"context"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func init() {
	cases["manual_commit_and_resume"] = manualCommitAndResume
	cases["mark_commit"] = markCommit
	cases["auto_commit_on_leaving"] = autoCommitOnLeaving
	cases["static_member_comes_back"] = staticMemberComesBack
	cases["balancer_range"] = func(w *world) { sharesWithASecond(w, kgo.RangeBalancer()) }
	cases["balancer_round_robin"] = func(w *world) { sharesWithASecond(w, kgo.RoundRobinBalancer()) }
	cases["balancer_sticky"] = func(w *world) { sharesWithASecond(w, kgo.StickyBalancer()) }
	cases["balancer_cooperative_sticky"] = cooperativeMembersKeepWhatStays
	cases["from_an_offset_a_time_or_the_end"] = fromAnOffsetATimeOrTheEnd
	cases["pause_and_resume"] = pauseAndResume
	cases["topics_by_pattern"] = topicsByPattern
}

func (w *world) committed() map[int32]int64 {
	found := map[int32]int64{}
	for partition, each := range must(w.admin().FetchOffsets(w.ctx, w.group))[w.topic] {
		ok(each.Err)
		found[partition] = each.At
	}
	return found
}

// Nothing is committed but what the program commits; the next member starts there.
func manualCommitAndResume(w *world) {
	w.createTopic(1)
	w.fill(20, 1)
	first := w.member(kgo.DisableAutoCommit())
	records := w.read(first, 20)
	equal(w.committed(), map[int32]int64{})
	ok(first.CommitRecords(w.ctx, records[11]))
	equal(w.committed(), map[int32]int64{0: 12})
	first.Close()
	second := w.member(kgo.DisableAutoCommit())
	equal(texts(w.read(second, 8)), numbers(12, 20))
	ok(second.CommitUncommittedOffsets(w.ctx))
	equal(w.committed(), map[int32]int64{0: 20})
}

// Marked records alone are committed.
func markCommit(w *world) {
	w.createTopic(1)
	w.fill(10, 1)
	member := w.member(kgo.AutoCommitMarks(), kgo.AutoCommitInterval(time.Hour))
	member.MarkCommitRecords(w.read(member, 10)[:7]...)
	ok(member.CommitMarkedOffsets(w.ctx))
	equal(w.committed(), map[int32]int64{0: 7})
}

// Leaving a group commits what was returned before the last poll.
func autoCommitOnLeaving(w *world) {
	w.createTopic(1)
	w.fill(5, 1)
	member := w.member()
	w.read(member, 5)
	over, end := context.WithCancel(w.ctx)
	end()
	member.PollFetches(over)
	member.Close()
	equal(w.committed(), map[int32]int64{0: 5})
}

// owner follows what a group member owns.
type owner struct {
	client      *kgo.Client
	mutex       sync.Mutex
	owned       []int32
	assignments int
	lost        []int32
	stop        context.CancelFunc
	stopped     chan struct{}
}

// poll runs a member until it is closed, as a rebalance needs every member to move.
func (w *world) poll(options ...kgo.Opt) *owner {
	ctx, stop := context.WithCancel(w.ctx)
	o := &owner{stop: stop, stopped: make(chan struct{})}
	o.client = w.member(append(options,
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			o.mutex.Lock()
			defer o.mutex.Unlock()
			o.assignments++
			o.owned = append(o.owned, added[w.topic]...)
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
			o.mutex.Lock()
			defer o.mutex.Unlock()
			o.lost = append(o.lost, gone[w.topic]...)
			o.owned = slices.DeleteFunc(o.owned, func(each int32) bool { return slices.Contains(gone[w.topic], each) })
		}),
	)...)
	go func() {
		defer close(o.stopped)
		for ctx.Err() == nil {
			o.client.PollFetches(ctx)
		}
	}()
	return o
}

func (o *owner) partitions() []int32 {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return slices.Sorted(slices.Values(o.owned))
}

func (o *owner) close() {
	o.stop()
	<-o.stopped
	o.client.Close()
}

func (w *world) waitForShares(shares ...*owner) {
	w.until(func() bool {
		var all []int32
		for _, each := range shares {
			if len(each.partitions()) != 4/len(shares) {
				return false
			}
			all = append(all, each.partitions()...)
		}
		slices.Sort(all)
		return slices.Equal(all, []int32{0, 1, 2, 3})
	}, "every partition has one owner")
}

// Two members own half each, and the one that stays owns everything again.
func sharesWithASecond(w *world, balancer kgo.GroupBalancer) {
	w.createTopic(4)
	first := w.poll(kgo.Balancers(balancer))
	defer first.close()
	w.waitForShares(first)
	second := w.poll(kgo.Balancers(balancer))
	w.waitForShares(first, second)
	equal(must(w.admin().DescribeGroups(w.ctx, w.group))[w.group].Protocol, balancer.ProtocolName())
	second.close()
	w.waitForShares(first)
}

// With cooperative-sticky a member gives up only what another gets.
func cooperativeMembersKeepWhatStays(w *world) {
	w.createTopic(4)
	first := w.poll(kgo.Balancers(kgo.CooperativeStickyBalancer()))
	defer first.close()
	w.waitForShares(first)
	second := w.poll(kgo.Balancers(kgo.CooperativeStickyBalancer()))
	w.waitForShares(first, second)
	first.mutex.Lock()
	lost := slices.Sorted(slices.Values(first.lost))
	first.mutex.Unlock()
	equal(lost, second.partitions())
	second.close()
	w.waitForShares(first)
}

// A static member that comes back before its session ends owns what it owned, and nobody else notices.
func staticMemberComesBack(w *world) {
	w.createTopic(4)
	stays := w.poll(kgo.InstanceID("stays"), kgo.Balancers(kgo.RangeBalancer()))
	defer stays.close()
	leaves := w.poll(kgo.InstanceID("leaves"), kgo.Balancers(kgo.RangeBalancer()))
	w.waitForShares(stays, leaves)
	before := leaves.partitions()
	stays.mutex.Lock()
	assignments := stays.assignments
	stays.mutex.Unlock()
	leaves.close() // a static member does not leave its group by closing
	back := w.poll(kgo.InstanceID("leaves"), kgo.Balancers(kgo.RangeBalancer()))
	defer back.close()
	w.waitForShares(stays, back)
	equal(back.partitions(), before)
	stays.mutex.Lock()
	defer stays.mutex.Unlock()
	equal(stays.assignments, assignments)
	group := must(w.admin().DescribeGroups(w.ctx, w.group))[w.group]
	equal([]string{*group.Members[0].InstanceID, *group.Members[1].InstanceID}, []string{"leaves", "stays"})
}

// Without a group a reader starts where it says.
func fromAnOffsetATimeOrTheEnd(w *world) {
	w.createTopic(1)
	producer := w.client(kgo.DefaultProduceTopic(w.topic))
	for at := range 10 {
		record := kgo.StringRecord(numbers(at, at+1)[0])
		record.Timestamp = time.UnixMilli(1_700_000_000_000 + 10*int64(at))
		ok(producer.ProduceSync(w.ctx, record).FirstErr())
	}
	from := func(offset kgo.Offset) []string {
		where := map[string]map[int32]kgo.Offset{w.topic: {0: offset}}
		return texts(w.read(w.client(kgo.ConsumePartitions(where)), 3))[:3]
	}
	equal(from(kgo.NewOffset().At(6)), numbers(6, 9))
	equal(from(kgo.NewOffset().AfterMilli(1_700_000_000_031)), numbers(4, 7))
	equal(from(kgo.NewOffset().AtEnd().Relative(-3)), numbers(7, 10))
}

// A paused partition stays silent while the other goes on.
func pauseAndResume(w *world) {
	w.createTopic(2)
	member := w.member()
	only := map[string][]int32{w.topic: {0}}
	member.PauseFetchPartitions(only)
	w.fill(10, 2)
	equal(texts(w.read(member, 5)), []string{"1", "3", "5", "7", "9"})
	member.ResumeFetchPartitions(only)
	equal(texts(w.read(member, 5)), []string{"0", "2", "4", "6", "8"})
}

// A pattern finds the topics it matches.
func topicsByPattern(w *world) {
	base := w.topic
	for _, topic := range []string{base + ".a", base + ".b", "not-" + base + ".c"} {
		w.topic = topic
		w.createTopic(1)
		w.fill(1, 1)
	}
	w.topic = "^" + regexp.QuoteMeta(base) + `\.[abc]$`
	var topics []string
	for _, record := range w.read(w.member(kgo.ConsumeRegex()), 2) {
		topics = append(topics, record.Topic)
	}
	slices.Sort(topics)
	equal(topics, []string{base + ".a", base + ".b"})
}
