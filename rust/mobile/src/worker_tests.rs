use std::sync::atomic::AtomicU32;
use std::sync::Barrier;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Counts how often it was loaded and dropped.
struct Fake {
    value: u32,
    drops: Arc<AtomicU32>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

impl Model for Fake {
    fn trim() {}
}

struct Bench {
    worker: Arc<Worker<Fake>>,
    loads: Arc<AtomicU32>,
    drops: Arc<AtomicU32>,
}

fn bench(capacity: u32) -> Bench {
    let (loads, drops) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (loaded, dropped) = (loads.clone(), drops.clone());
    let load = move || {
        loaded.fetch_add(1, Ordering::SeqCst);
        Ok(Fake { value: 0, drops: dropped.clone() })
    };
    let worker = Worker::start("fake", capacity, Box::new(load)).unwrap();
    Bench { worker: Arc::new(worker), loads, drops }
}

impl Bench {
    /// Adds to the model's value, and answers the sum.
    fn add(&self, number: u32) -> Result<u32, MobileError> {
        self.worker
            .call(&Cancellation::new(), move |fake| {
                fake.value += number;
                Ok(fake.value)
            })?
            .wait()
    }

    /// Keeps the worker busy until the barrier is reached twice: once when it is busy, once to let it go.
    fn busy(&self) -> Arc<Barrier> {
        let barrier = Arc::new(Barrier::new(2));
        let there = barrier.clone();
        let pending = self.worker.call(&Cancellation::new(), move |_| {
            there.wait();
            there.wait();
            Ok(())
        });
        drop(pending.unwrap());
        barrier.wait();
        barrier
    }
}

/// Waits for what another thread does soon.
fn eventually(what: impl Fn() -> bool) {
    for _ in 0..1000 {
        if what() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("it did not happen within five seconds");
}

#[test]
fn calls_of_many_threads_are_answered_one_after_the_other() {
    let bench = Arc::new(bench(64));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let bench = bench.clone();
            thread::spawn(move || (0..50).map(|_| bench.add(1).unwrap()).collect::<Vec<u32>>())
        })
        .collect();
    let mut seen: Vec<u32> = threads.into_iter().flat_map(|one| one.join().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..=400).collect::<Vec<u32>>());
}

#[test]
fn a_full_queue_refuses_and_is_free_again() {
    let bench = bench(2);
    let barrier = bench.busy();
    let never = Cancellation::new();
    let waiting: Vec<_> =
        (0..2).map(|at| bench.worker.call(&never, move |_| Ok(at)).unwrap()).collect();
    let refused = bench.worker.call(&never, |_| Ok(())).map(drop).unwrap_err();
    assert_eq!(refused, MobileError::QueueFull { capacity: 2 });
    barrier.wait();
    assert_eq!(waiting.into_iter().map(|one| one.wait().unwrap()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(bench.add(3), Ok(3));
}

#[test]
fn a_cancelled_call_returns_at_once_and_is_not_made() {
    let bench = bench(4);
    let barrier = bench.busy();
    let (cancellation, made) = (Cancellation::new(), Arc::new(AtomicU32::new(0)));
    let counted = made.clone();
    let pending =
        bench.worker.call(&cancellation, move |_| Ok(counted.fetch_add(1, Ordering::SeqCst)));
    let pending = pending.unwrap();
    let waiting = thread::spawn(move || pending.wait());
    cancellation.cancel();
    // The worker is still busy: only the cancellation can end the wait.
    assert_eq!(waiting.join().unwrap(), Err(MobileError::Cancelled));
    assert_eq!(bench.worker.call(&cancellation, |_| Ok(())).map(drop), Err(MobileError::Cancelled));
    barrier.wait();
    assert_eq!(bench.add(1), Ok(1));
    assert_eq!(made.load(Ordering::SeqCst), 0);
}

#[test]
fn a_panic_is_an_error_and_the_model_is_loaded_again() {
    let bench = bench(4);
    assert_eq!(bench.add(7), Ok(7));
    let broken = bench.worker.call(&Cancellation::new(), |fake| -> Result<(), _> {
        fake.value = 99;
        std::panic::resume_unwind(Box::new("half done"))
    });
    assert_eq!(broken.unwrap().wait(), Err(MobileError::Panic { message: "half done".to_owned() }));
    assert_eq!(bench.add(1), Ok(1), "a model that panicked is not called again");
    assert_eq!((bench.loads.load(Ordering::SeqCst), bench.drops.load(Ordering::SeqCst)), (2, 1));
}

#[test]
fn memory_is_released_when_idle_and_when_busy() {
    let bench = bench(4);
    assert_eq!(bench.add(5), Ok(5));
    bench.worker.release();
    eventually(|| bench.drops.load(Ordering::SeqCst) == 1);
    assert_eq!(bench.add(1), Ok(1));
    let barrier = bench.busy();
    bench.worker.release();
    bench.worker.release();
    assert_eq!(bench.drops.load(Ordering::SeqCst), 1, "not under a call that runs");
    barrier.wait();
    eventually(|| bench.drops.load(Ordering::SeqCst) == 2);
    assert_eq!(bench.add(2), Ok(2));
}

#[test]
fn a_closed_worker_answers_what_waits_and_drops_its_model() {
    let bench = bench(4);
    let barrier = bench.busy();
    let waiting = bench.worker.call(&Cancellation::new(), |_| Ok(())).unwrap();
    bench.worker.close();
    bench.worker.close();
    let closed = MobileError::Closed { model: "fake".to_owned() };
    assert_eq!(bench.add(1), Err(closed.clone()));
    barrier.wait();
    assert_eq!(waiting.wait(), Err(closed.clone()));
    eventually(|| bench.drops.load(Ordering::SeqCst) == 1);
    bench.worker.release();
    assert_eq!(bench.add(1), Err(closed));
}

#[test]
fn a_dropped_worker_ends_its_thread() {
    let bench = bench(4);
    let drops = bench.drops.clone();
    drop(bench);
    eventually(|| drops.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_model_that_cannot_be_loaded_is_the_starts_error() {
    let failed = |load: Load<Fake>| Worker::start("fake", 1, load).map(drop).unwrap_err();
    let missing = MobileError::OutOfMemory { message: "none".to_owned() };
    let given = missing.clone();
    assert_eq!(failed(Box::new(move || Err(given.clone()))), missing);
    let error = failed(Box::new(|| std::panic::resume_unwind(Box::new("no"))));
    assert_eq!(error, MobileError::Panic { message: "no".to_owned() });
}

#[test]
fn posted_work_hears_once_in_any_case() {
    let bench = bench(4);
    let barrier = bench.busy();
    let (told, heard) = bounded(4);
    for cancellation in [Cancellation::new(), Cancellation::new()] {
        let told = told.clone();
        let posted = bench.worker.post(&cancellation, move |model| {
            told.send(model.map(|_| ())).unwrap();
            After::Whole
        });
        posted.unwrap();
        cancellation.cancel();
    }
    drop(told);
    bench.worker.close();
    barrier.wait();
    let closed = MobileError::Closed { model: "fake".to_owned() };
    assert_eq!(heard.iter().collect::<Vec<_>>(), [Err(closed.clone()), Err(closed)]);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Add(u32),
    Panic,
    Release,
    CancelledAdd,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u32..9).prop_map(Step::Add),
        1 => Just(Step::Panic),
        1 => Just(Step::Release),
        1 => Just(Step::CancelledAdd),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done before it, a call is answered by a model that is whole.
    #[test]
    fn any_order_of_steps_leaves_a_whole_model(steps in prop::collection::vec(step(), 0..24)) {
        let bench = bench(4);
        let mut least = 0;
        for step in steps {
            match step {
                Step::Add(number) => {
                    // A release may come before it or after it.
                    let found = bench.add(number).unwrap();
                    prop_assert!(found == number || found == least + number, "{} {} {}", found, least, number);
                    least = found;
                }
                Step::Panic => {
                    let call = bench.worker.call(&Cancellation::new(), |_| -> Result<(), _> {
                        std::panic::resume_unwind(Box::new("p"))
                    });
                    prop_assert_eq!(call.unwrap().wait().unwrap_err().code(), 21);
                    least = 0;
                }
                Step::Release => bench.worker.release(),
                Step::CancelledAdd => {
                    let cancellation = Cancellation::new();
                    cancellation.cancel();
                    prop_assert!(bench.worker.call(&cancellation, |_| Ok(())).is_err());
                }
            }
        }
    }
}
