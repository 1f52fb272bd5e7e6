package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const heartbeat = 100 * time.Millisecond

// world is what a case works with: clients that are closed behind it, and checks that end it.
type world struct {
	ctx       context.Context
	bootstrap string
	topic     string // and group: names nobody else uses
	group     string
	clients   []*kgo.Client
	admins    *kadm.Client
}

func (w *world) client(options ...kgo.Opt) *kgo.Client {
	// Retries come quickly, as a topic or a coordinator that was asked for just now is there a moment later.
	common := []kgo.Opt{
		kgo.SeedBrokers(w.bootstrap),
		kgo.ClientID("ottla-tests"),
		kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.MetadataMinAge(20 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
	}
	client, err := kgo.NewClient(append(common, options...)...)
	ok(err)
	w.clients = append(w.clients, client)
	return client
}

func (w *world) admin() *kadm.Client {
	if w.admins == nil {
		w.admins = kadm.NewClient(w.client())
	}
	return w.admins
}

func (w *world) createTopic(partitions int32) {
	_, err := w.admin().CreateTopic(w.ctx, partitions, -1, nil, w.topic)
	ok(err)
}

// member joins the case's group; it notices a rebalance within 100 ms.
func (w *world) member(options ...kgo.Opt) *kgo.Client {
	return w.client(append([]kgo.Opt{
		kgo.ConsumerGroup(w.group),
		kgo.ConsumeTopics(w.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.HeartbeatInterval(heartbeat),
	}, options...)...)
}

// fill produces the values "0", "1", ... one partition after the other.
func (w *world) fill(count, partitions int) {
	producer := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	records := make([]*kgo.Record, count)
	for number := range records {
		value := []byte(fmt.Sprint(number))
		records[number] = &kgo.Record{Topic: w.topic, Partition: int32(number % partitions), Value: value}
	}
	ok(producer.ProduceSync(w.ctx, records...).FirstErr())
}

// read polls until `count` records are there.
func (w *world) read(consumer *kgo.Client, count int) []*kgo.Record {
	var found []*kgo.Record
	for len(found) < count {
		fetches := consumer.PollFetches(w.ctx)
		if w.ctx.Err() != nil {
			fail("%d of %d records when the time was over", len(found), count)
		}
		for _, failure := range fetches.Errors() {
			fail("%s[%d]: %v", failure.Topic, failure.Partition, failure.Err)
		}
		found = append(found, fetches.Records()...)
	}
	return found
}

// readAll reads the topic's first records without a group.
func (w *world) readAll(count int, options ...kgo.Opt) []*kgo.Record {
	start := kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())
	return w.read(w.client(append([]kgo.Opt{kgo.ConsumeTopics(w.topic), start}, options...)...), count)
}

// until asks again until the answer is yes.
func (w *world) until(condition func() bool, what string) {
	for !condition() {
		select {
		case <-w.ctx.Done():
			fail("not in time: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (w *world) close() {
	for _, client := range slices.Backward(w.clients) {
		client.Close()
	}
}

func texts(records []*kgo.Record) []string {
	found := make([]string, len(records))
	for at, record := range records {
		found[at] = string(record.Value)
	}
	return found
}

func numbers(first, end int) []string {
	var found []string
	for number := first; number < end; number++ {
		found = append(found, fmt.Sprint(number))
	}
	return found
}
