//! `cargo bench -p ottla-log --bench engine`: the time of an append, of reads, of index searches and of compaction, by criterion. To
//! compare two versions: `-- --save-baseline before`, then `-- --baseline before`. What holds on a noisy machine is in
//! `instructions.rs`; what is beside the machine's limit in the programs of `examples`.

mod scene;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use scene::{
    append, closed_index, compact, compactable, filled, find_time, read, scattered, search, with_small_records,
};

/// A closed segment of many batches and the active one.
const BATCHES: usize = 1024;
const SEGMENT_BYTES: u32 = 32 << 20;
/// What an append may make the log before a new one is begun: the page cache is not to fill up.
const APPENDS_MAX: u64 = 8192;

fn appending(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    let mut scene = filled(0, 1 << 30, false);
    let mut appends = 0;
    group.throughput(Throughput::Bytes(scene.batch.len() as u64));
    group.bench_function("64 records of 1 KiB", |bencher| {
        bencher.iter(|| {
            append(&mut scene, 1);
            appends += 1;
            if appends % APPENDS_MAX == 0 {
                scene = filled(0, 1 << 30, false);
            }
        });
    });
    let mut scene = with_small_records(filled(0, 1 << 30, false));
    let mut appends = 0;
    group.throughput(Throughput::Bytes(scene.batch.len() as u64));
    group.bench_function("1,000 records of 100 B", |bencher| {
        bencher.iter(|| {
            append(&mut scene, 1);
            appends += 1;
            if appends % APPENDS_MAX == 0 {
                scene = with_small_records(filled(0, 1 << 30, false));
            }
        });
    });
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let scene = filled(BATCHES, SEGMENT_BYTES, false);
    let tail = scene.partition.offsets().high_watermark - 1;
    let mut group = criterion.benchmark_group("read");
    group.bench_function("at the tail", |bencher| bencher.iter(|| read(&scene, tail)));
    let mut offsets = scattered(&scene, 1 << 20).collect::<Vec<_>>().into_iter().cycle();
    group.bench_function("anywhere", |bencher| bencher.iter(|| read(&scene, offsets.next().unwrap_or(0))));
    group.finish();
}

fn searching(criterion: &mut Criterion) {
    let scene = filled(BATCHES, SEGMENT_BYTES, false);
    let mut index = closed_index(&scene);
    let mut offsets = scattered(&scene, 1 << 20).collect::<Vec<_>>().into_iter().cycle();
    let mut group = criterion.benchmark_group("index search");
    group.bench_function("offset, closed segment", |bencher| {
        bencher.iter(|| search(&scene, &mut index, offsets.next().unwrap_or(0)));
    });
    group.bench_function("timestamp", |bencher| bencher.iter(|| find_time(&scene, offsets.next().unwrap_or(0))));
    group.finish();
}

fn compacting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compaction");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(compactable(256).partition.size_bytes()));
    group.bench_function("16 MiB, half of it dead", |bencher| {
        bencher.iter_batched(|| compactable(256), |scene| compact(&scene), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(engine, appending, reading, searching, compacting);
criterion_main!(engine);
