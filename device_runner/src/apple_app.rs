//! The program's app on iOS, and the thermal state, which only Objective-C has.
//!
//! UIKit has to own the main thread: an app that does not come to its run loop within some twenty seconds is killed by the
//! launch watchdog (0x8badf00d).
#![allow(unsafe_code)]

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
