package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// event is a line of the history that a chaos run leaves (tests/history/events.py says what each means).
type event struct {
	Event           string   `json:"event"`
	At              int64    `json:"at"`
	Process         string   `json:"process"`
	TransactionalID string   `json:"transactional_id,omitempty"`
	Topic           string   `json:"topic,omitempty"`
	Value           string   `json:"value,omitempty"`
	Partition       *int32   `json:"partition,omitempty"`
	Offset          *int64   `json:"offset,omitempty"`
	Cause           *spot    `json:"cause,omitempty"`
	Txn             string   `json:"txn,omitempty"`
	Group           string   `json:"group,omitempty"`
	Isolation       string   `json:"isolation,omitempty"`
	Records         [][4]any `json:"records,omitempty"`
	Partitions      [][2]any `json:"partitions,omitempty"`
	Offsets         []spot   `json:"offsets,omitempty"`
	Positions       []spot   `json:"positions,omitempty"`
	Closing         bool     `json:"closing,omitempty"`
	Error           string   `json:"error,omitempty"`
}

// spot is topic, partition, offset.
type spot [3]any

// chaos is one program of a chaos run: franz chaos ROLE PROCESS BOOTSTRAP key=value ... (tests/history/programs).
type chaos struct {
	process string
	seed    string
	options map[string]string
	ctx     context.Context
	telling sync.Mutex
	// Its member is none any more, and what it says of its partitions is late.
	removed atomic.Bool
}

func runChaos(arguments []string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c := &chaos{process: arguments[1], seed: arguments[2], options: map[string]string{}, ctx: ctx}
	for _, word := range arguments[3:] {
		key, value, _ := strings.Cut(word, "=")
		c.options[key] = value
	}
	var err error
	if arguments[0] == "transform" {
		err = c.transform()
	} else {
		err = c.member()
	}
	if err != nil {
		c.tell(event{Event: "ended", Error: err.Error()})
		os.Exit(1)
	}
	c.tell(event{Event: "ended"})
}

func (c *chaos) tell(what event) {
	c.telling.Lock()
	defer c.telling.Unlock()
	what.At, what.Process = time.Now().UnixMicro(), c.process
	tell(what)
}

func (c *chaos) number(name string, otherwise int) int {
	if found, err := strconv.Atoi(c.options[name]); err == nil {
		return found
	}
	return otherwise
}

// places tells of partitions that came or went, if there are any.
func (c *chaos) places(name string) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		found := [][2]any{}
		for topic, numbers := range partitions {
			for _, number := range numbers {
				found = append(found, [2]any{topic, number})
			}
		}
		if len(found) > 0 {
			what := name
			if c.removed.Load() && name == "revoked" {
				what = "lost"
			}
			closing := what == "revoked" && c.ctx.Err() != nil
			c.tell(event{Event: what, Group: c.options["group"], Partitions: found, Closing: closing})
		}
	}
}

// consuming is what both roles ask of a group member.
func (c *chaos) consuming(topic string) []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(c.seed),
		kgo.ConsumerGroup(c.options["group"]),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.OnPartitionsAssigned(c.places("assigned")),
		kgo.OnPartitionsRevoked(c.places("revoked")),
		kgo.OnPartitionsLost(c.places("lost")),
	}
	if c.options["protocol"] == "consumer" {
		return append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	balancer := kgo.CooperativeStickyBalancer()
	if c.options["assignor"] == "range" {
		balancer = kgo.RangeBalancer()
	}
	session := time.Duration(c.number("session_ms", 6000)) * time.Millisecond
	return append(options, kgo.SessionTimeout(session), kgo.HeartbeatInterval(session/5),
		kgo.RebalanceTimeout(10*time.Second), kgo.Balancers(balancer))
}

// polled tells of a batch, in the transaction that is named, and returns its first offsets and those behind its last.
func (c *chaos) polled(records []*kgo.Record, txn string) (start, end []spot) {
	told := event{Event: "poll", Isolation: "committed", Group: c.options["group"], Txn: txn}
	last := map[int32]int{}
	for _, record := range records {
		told.Records = append(told.Records, [4]any{record.Topic, record.Partition, record.Offset, string(record.Value)})
		at, known := last[record.Partition]
		if !known {
			at = len(start)
			last[record.Partition] = at
			start = append(start, spot{record.Topic, record.Partition, record.Offset})
			end = append(end, spot{})
		}
		end[at] = spot{record.Topic, record.Partition, record.Offset + 1}
	}
	c.tell(told)
	return start, end
}

// poll waits a moment for records. What the client mends by itself is not told.
func (c *chaos) poll(from interface {
	PollRecords(context.Context, int) kgo.Fetches
}) []*kgo.Record {
	ctx, cancel := context.WithTimeout(c.ctx, 200*time.Millisecond)
	defer cancel()
	return from.PollRecords(ctx, 20).Records()
}

// member is one until it is told that it is none any more, and then another.
func (c *chaos) member() error {
	for c.ctx.Err() == nil {
		if err := c.life(); err != nil {
			return err
		}
	}
	return nil
}

// life ends when a commit is refused to it as nobody's: franz-go 1.22 joins again then, but goes on from where it was with
// what it had, if that is given to it again, however far others have come meanwhile.
func (c *chaos) life() error {
	client, err := kgo.NewClient(append(c.consuming(c.options["topic"]), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll())...)
	if err != nil {
		return err
	}
	defer func() {
		client.CloseAllowingRebalance()
		c.removed.Store(false)
	}()
	for c.ctx.Err() == nil && !c.removed.Load() {
		if records := c.poll(client); len(records) > 0 {
			_, end := c.polled(records, "")
			c.tell(event{Event: "commit_offsets", Group: c.options["group"], Offsets: end})
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			if err := client.CommitRecords(ctx, records...); err != nil {
				c.tell(event{Event: "offsets_failed", Group: c.options["group"], Error: err.Error()})
				c.removed.Store(errors.Is(err, kerr.UnknownMemberID))
			} else {
				c.tell(event{Event: "offsets_committed", Group: c.options["group"], Offsets: end})
			}
			cancel()
		}
		client.AllowRebalance()
	}
	return nil
}

func (c *chaos) transform() error {
	session, err := kgo.NewGroupTransactSession(append(
		c.consuming(c.options["source"]),
		kgo.TransactionalID(c.options["id"]),
		kgo.TransactionTimeout(10*time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)...)
	if err != nil {
		return err
	}
	defer session.Close()
	if _, _, err := session.Client().ProducerID(context.Background()); err != nil {
		return err
	}
	c.tell(event{Event: "initialized", TransactionalID: c.options["id"]})
	for number := 1; c.ctx.Err() == nil; {
		records := c.poll(session)
		if len(records) == 0 {
			continue
		}
		txn := fmt.Sprintf("%s/%d", c.process, number)
		every := c.number("abort_every", 0)
		aborts := every > 0 && number%every == 0
		number++
		c.tell(event{Event: "begin", Txn: txn})
		if err := session.Begin(); err != nil {
			return err
		}
		start, end := c.polled(records, txn)
		for _, record := range records {
			c.send(session, record, txn)
		}
		c.tell(event{Event: "commit_offsets", Group: c.options["group"], Offsets: end, Txn: txn})
		try := kgo.TryCommit
		if aborts {
			try = kgo.TryAbort
			if err := session.Client().Flush(context.Background()); err != nil {
				return err
			}
			c.tell(event{Event: "abort", Txn: txn})
		} else {
			c.tell(event{Event: "commit", Txn: txn})
		}
		committed, err := session.End(context.Background(), try)
		switch {
		case committed && err == nil:
			c.tell(event{Event: "committed", Txn: txn})
		case err == nil:
			c.tell(event{Event: "aborted", Txn: txn})
			c.tell(event{Event: "seek", Positions: start}) // the session has gone back to what is committed
		default:
			c.tell(event{Event: "unsure", Txn: txn, Error: err.Error()})
			return err
		}
	}
	return nil
}

func (c *chaos) send(session *kgo.GroupTransactSession, record *kgo.Record, txn string) {
	target, value := c.options["target"], string(record.Value)+"~"+txn
	cause := spot{record.Topic, record.Partition, record.Offset}
	c.tell(event{Event: "send", Topic: target, Partition: &record.Partition, Value: value, Txn: txn, Cause: &cause})
	output := &kgo.Record{Topic: target, Partition: record.Partition, Value: []byte(value)}
	session.Produce(context.Background(), output, func(done *kgo.Record, err error) {
		if err != nil {
			c.tell(event{Event: "failed", Topic: target, Value: value, Error: err.Error()})
		} else {
			c.tell(event{Event: "sent", Topic: target, Partition: &done.Partition, Offset: &done.Offset, Value: value})
		}
	})
}
