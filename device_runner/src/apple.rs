//! What only iOS has: the app around a run, the thermal state, the machine, the peak memory.
//!
//! All `unsafe` code of the runner is here. UIKit has to own the main thread: an app that does not
//! come to its run loop within some twenty seconds is killed by the launch watchdog (0x8badf00d).
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::process;
use std::sync::{Mutex, PoisonError};
use std::thread;

use objc2::rc::Retained;
use objc2::runtime::NSObject;
use objc2::{define_class, ClassType, MainThreadMarker, MainThreadOnly};
use objc2_foundation::{
    NSDictionary, NSObjectProtocol, NSProcessInfo, NSProcessInfoThermalState, NSString,
};
use objc2_ui_kit::{
    UIApplication, UIApplicationDelegate, UIApplicationLaunchOptionsKey, UIViewController, UIWindow,
};

use crate::readings::State;
use crate::status;

type Work = Box<dyn FnOnce() -> u8 + Send>;

/// UIKit makes the delegate itself, so what the delegate is to do waits here.
static WORK: Mutex<Option<Work>> = Mutex::new(None);

/// Gives the main thread to UIKit, does the work on another one as soon as the app has launched, and
/// exits with the status that it returns.
pub fn run_app(work: impl FnOnce() -> u8 + Send + 'static) -> ! {
    let Some(main_thread) = MainThreadMarker::new() else {
        eprintln!("error: an app starts on the main thread");
        process::exit(i32::from(status::USAGE));
    };
    *WORK.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(work));
    let delegate = NSString::from_class(Delegate::class());
    UIApplication::main(None, Some(&delegate), main_thread)
}

define_class!(
    // SAFETY: NSObject has no requirements for its subclasses, and this one has no Drop and no state.
    #[unsafe(super(NSObject))]
    #[thread_kind = MainThreadOnly]
    #[name = "HarnessRunnerDelegate"]
    struct Delegate;

    // SAFETY: the protocol has no requirements for its classes.
    unsafe impl NSObjectProtocol for Delegate {}

    // SAFETY: the method has the arguments and the result of the protocol's.
    unsafe impl UIApplicationDelegate for Delegate {
        #[unsafe(method(application:didFinishLaunchingWithOptions:))]
        fn did_finish_launching(
            &self,
            application: &UIApplication,
            _options: Option<&NSDictionary<UIApplicationLaunchOptionsKey>>,
        ) -> bool {
            // A screen that locks suspends the app in the middle of its order.
            application.setIdleTimerDisabled(true);
            show_window(self.mtm());
            start_work();
            true
        }
    }
);

/// An empty window, which lives as long as the app: without one the launch is not over.
fn show_window(main_thread: MainThreadMarker) {
    // As large as the screen, since no frame is given.
    let window = UIWindow::new(main_thread);
    window.setRootViewController(Some(&UIViewController::new(main_thread)));
    window.makeKeyAndVisible();
    let _kept = Retained::into_raw(window);
}

fn start_work() {
    let Some(work) = WORK.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let started = thread::Builder::new()
        .name("order".to_owned())
        .stack_size(MAIN_STACK_BYTES)
        .spawn(|| process::exit(i32::from(work())));
    if let Err(error) = started {
        eprintln!("error: no thread for the order: {error}");
        process::exit(i32::from(status::FAILED));
    }
}

/// What the main thread has on iOS, where an order otherwise runs.
const MAIN_STACK_BYTES: usize = 1 << 20;

/// The thermal state that the system reports; none for a state that came after iOS 17.
pub fn thermal_state() -> Option<State> {
    let state = NSProcessInfo::processInfo().thermalState();
    let known = [
        (NSProcessInfoThermalState::Nominal, State::Nominal),
        (NSProcessInfoThermalState::Fair, State::Fair),
        (NSProcessInfoThermalState::Serious, State::Serious),
        (NSProcessInfoThermalState::Critical, State::Critical),
    ];
    known.into_iter().find(|(theirs, _)| *theirs == state).map(|(_, ours)| ours)
}

/// Whether a processor's feature is there by the name that iOS 14 had for it or for what came with it; iOS 15
/// brought the `FEAT_` names, which are all that the standard library asks for most of them.
pub fn has_by_older_name(feature: &str) -> bool {
    match feature {
        "lse" | "rdm" => is_set(c"hw.optional.armv8_1_atomics"),
        "fp16" => is_set(c"hw.optional.neon_fp16"),
        "fhm" => is_set(c"hw.optional.armv8_2_fhm"),
        "fcma" | "rcpc" => is_set(c"hw.optional.armv8_3_compnum"),
        _ => false,
    }
}

fn is_set(name: &CStr) -> bool {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>();
    // SAFETY: the name ends in a NUL, `value` has room for `length` bytes, nothing is set, and the call keeps no
    // pointer.
    let status = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            (&raw mut value).cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    status == 0 && value != 0
}

/// The model's identifier, such as `iPhone14,5`.
pub fn machine() -> Option<String> {
    let mut name = [0_u8; 64];
    let mut length = name.len();
    // SAFETY: the name ends in a NUL, `name` has room for `length` bytes, nothing is set, and the call keeps no
    // pointer.
    let status = unsafe {
        libc::sysctlbyname(
            c"hw.machine".as_ptr(),
            name.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    let text = CStr::from_bytes_until_nul(&name).ok()?.to_str().ok()?;
    (status == 0 && !text.is_empty()).then(|| text.to_owned())
}

/// Bytes of the process's peak resident set.
pub fn peak_bytes() -> Option<u64> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the call fills the structure it is given, or answers other than 0.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) != 0 {
            return None;
        }
        usage.assume_init()
    };
    // Apple's systems count bytes here, others kilobytes.
    u64::try_from(usage.ru_maxrss).ok()
}
