//! Bare Argon2: how many hashes a second the cores compute when nothing else is done, by the crate and with the cost and
//! the kept memory with which `domain/src/passwords` computes them. Logins that saturate a server are measured beside it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use doorward_domain::passwords::Argon2Cost;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For how many seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many hashes at a time; as many as there are cores if absent.
    #[arg(long)]
    threads: Option<usize>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let threads = match args.threads {
        Some(threads) => threads.max(1),
        None => thread::available_parallelism().context("the number of cores is not known")?.get(),
    };
    let time = Duration::from_secs(args.seconds.max(1));
    let running: Vec<_> = (0..threads).map(|_| thread::spawn(move || hash_for(time))).collect();
    let mut rate = 0.0;
    for thread in running {
        rate += thread.join().map_err(|_| anyhow!("a thread panicked"))??;
    }
    println!("{rate:.1} hashes a second on {threads} threads");
    Ok(())
}

/// Hashes for that long and says how many a second.
fn hash_for(time: Duration) -> anyhow::Result<f64> {
    let Argon2Cost { memory_kib, iterations, parallelism } = Argon2Cost::FLOOR;
    let params = Params::new(memory_kib, iterations, parallelism, None)?;
    let mut memory = vec![Block::new(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (mut output, mut count) = ([0; Params::DEFAULT_OUTPUT_LEN], 0_u32);
    // The first has the memory from the operating system, which the others do not pay for.
    argon2.hash_password_into_with_memory(b"a password", &[1; 16], &mut output, &mut memory)?;
    let began = Instant::now();
    while began.elapsed() < time {
        argon2.hash_password_into_with_memory(b"a password", &[1; 16], &mut output, &mut memory)?;
        std::hint::black_box(&output);
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}
