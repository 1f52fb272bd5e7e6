//! `make bench-instructions`: how many instructions of ours an append, a read, an index search and a pass of compaction take, counted
//! by callgrind (valgrind and `cargo install gungraun-runner` needed). They are the same on a busy machine, so that a regression can be
//! told from noise; `benches/instructions.py` compares them with `instructions.json`. What the kernel does is not counted.

mod scene;

use gungraun::{library_benchmark, library_benchmark_group, main};
use ottla_log::index::offset::OffsetIndex;
use scene::{
    Scene, append, closed_index, compact, compactable, filled, find_time, read, scattered, search, with_small_records,
};

const TIMES: i64 = 16;

/// What is done once per process, or once per partition, is done.
fn warm(batches: usize) -> Scene {
    let mut scene = filled(batches, 16 << 20, false);
    append(&mut scene, 4);
    read(&scene, 0);
    find_time(&scene, 1);
    scene
}

fn warm_with_small_records(batches: usize) -> Scene {
    let mut scene = with_small_records(warm(batches));
    append(&mut scene, 4);
    scene
}

fn with_index(batches: usize) -> (Scene, OffsetIndex) {
    let scene = warm(batches);
    let mut index = closed_index(&scene);
    search(&scene, &mut index, 1);
    (scene, index)
}

// The scenes are given back: to take them down is no part of what is counted.

#[library_benchmark]
#[bench::batches_of_64(args = (64), setup = warm)]
#[bench::records_of_100_bytes(args = (64), setup = warm_with_small_records)]
fn append_16(mut scene: Scene) -> Scene {
    append(&mut scene, TIMES as usize);
    scene
}

#[library_benchmark]
#[bench::tail(args = (64), setup = warm)]
fn read_tail_16(scene: Scene) -> Scene {
    let tail = scene.partition.offsets().high_watermark - 1;
    (0..TIMES).for_each(|_| read(&scene, tail));
    scene
}

#[library_benchmark]
#[bench::anywhere(args = (512), setup = warm)]
fn read_16(scene: Scene) -> Scene {
    scattered(&scene, TIMES).for_each(|offset| read(&scene, offset));
    scene
}

#[library_benchmark]
#[bench::closed_segment(args = (512), setup = with_index)]
fn search_index_16((scene, mut index): (Scene, OffsetIndex)) -> (Scene, OffsetIndex) {
    scattered(&scene, TIMES).for_each(|offset| search(&scene, &mut index, offset));
    (scene, index)
}

#[library_benchmark]
#[bench::anywhere(args = (512), setup = warm)]
fn find_time_16(scene: Scene) -> Scene {
    scattered(&scene, TIMES).for_each(|offset| find_time(&scene, offset));
    scene
}

#[library_benchmark]
#[bench::half_dead(args = (128), setup = compactable)]
fn compact_8_mib(scene: Scene) -> Scene {
    compact(&scene);
    scene
}

library_benchmark_group!(
    name = engine;
    benchmarks = append_16, read_tail_16, read_16, search_index_16, find_time_16, compact_8_mib
);

main!(library_benchmark_groups = engine);
