package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type owns struct {
	Event      string  `json:"event"`
	Group      string  `json:"group"`
	Partitions []int32 `json:"partitions"`
}

type got struct {
	Event     string `json:"event"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Value     string `json:"value"`
}

// runMember is one member of a group, as a process that tells each event as a line of JSON: what it owns, and every
// record. Without GROUP it has a group of its own, named after its process. SIGTERM makes it leave the group.
func runMember(arguments []string) {
	bootstrap, topic := arguments[0], arguments[1]
	session, err := strconv.Atoi(arguments[2])
	if err != nil {
		panic(err)
	}
	group := fmt.Sprintf("readers-%d", os.Getpid())
	if len(arguments) > 3 {
		group = arguments[3]
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	owned := []int32{}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(time.Duration(session)*time.Millisecond),
		kgo.HeartbeatInterval(heartbeat),
		kgo.FetchMaxWait(200*time.Millisecond),
		kgo.Balancers(kgo.RangeBalancer()),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			owned = append(owned, added[topic]...)
			tell(owns{"owns", group, owned})
		}),
		kgo.OnPartitionsRevoked(func(context.Context, *kgo.Client, map[string][]int32) {
			owned = slices.Delete(owned, 0, len(owned)) // range is eager: everything is given back before a rebalance
			tell(owns{"owns", group, owned})
		}),
		kgo.OnPartitionsLost(func(context.Context, *kgo.Client, map[string][]int32) {
			owned = slices.Delete(owned, 0, len(owned))
			tell(owns{"owns", group, owned})
		}),
	)
	if err != nil {
		panic(err)
	}
	defer client.Close()
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(record *kgo.Record) {
			tell(got{"record", record.Partition, record.Offset, string(record.Value)})
		})
	}
}
