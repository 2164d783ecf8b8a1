//! The locks, atomics, channels and threads of the session table and the journal: the standard library's, or
//! shuttle's when `tests/schedules.rs` explores in which orders they may interleave.

#[cfg(not(feature = "shuttle"))]
pub(crate) use std::{
    sync::{
        Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::{
    sync::{
        Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use std::sync::PoisonError;

/// Locks, also after a panic elsewhere: every section in this crate leaves its data whole at each step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], for readers.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], for the writer.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
