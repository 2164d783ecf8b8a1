//! What stands between a proxy and Doorward: it hears every question, and can be silent, wrong or gone.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

/// What becomes of a question.
#[derive(Clone, Debug)]
pub enum Mood {
    /// Doorward answers.
    Pass,
    /// Nobody answers, ever.
    Silent,
    /// This is answered instead; nothing at all if it is empty.
    Say(String),
}

struct Shared {
    doorward: SocketAddr,
    mood: Mutex<Mood>,
    heard: Mutex<Vec<u8>>,
    open: Mutex<Vec<TcpStream>>,
    ends: Mutex<bool>,
}

/// The tap. Its threads end when it is closed.
pub struct Tap {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl Tap {
    pub fn start(doorward: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            doorward,
            mood: Mutex::new(Mood::Pass),
            heard: Mutex::default(),
            open: Mutex::default(),
            ends: Mutex::new(false),
        });
        let mut tap = Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), shared, listening: None };
        tap.open();
        tap
    }

    /// Listens, again on the same port if it was closed.
    pub fn open(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.address = listener.local_addr().unwrap();
        *self.shared.ends.lock().unwrap() = false;
        let shared = self.shared.clone();
        self.listening = Some(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if *shared.ends.lock().unwrap() {
                    return;
                }
                let (stream, shared) = (stream.unwrap(), shared.clone());
                shared.open.lock().unwrap().push(stream.try_clone().unwrap());
                std::thread::spawn(move || serve(stream, &shared));
            }
        }));
    }

    /// Connections are refused from now on, and those that are open end.
    pub fn close(&mut self) {
        *self.shared.ends.lock().unwrap() = true;
        // Wakes who waits for connections.
        let _ = TcpStream::connect(self.address);
        self.listening.take().unwrap().join().unwrap();
        self.hang_up();
    }

    fn hang_up(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Changes what becomes of questions; connections that are open end.
    pub fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
        self.hang_up();
    }

    /// What proxies have sent since this was last asked, as text.
    pub fn take(&self) -> String {
        let heard = std::mem::take(&mut *self.shared.heard.lock().unwrap());
        heard.into_iter().map(char::from).collect()
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let mood = shared.mood.lock().unwrap().clone();
    if let Mood::Say(answer) = &mood {
        let mut part = [0; 65_536];
        if stream.read(&mut part).is_ok() {
            let _ = stream.write_all(answer.as_bytes());
        }
        let _ = stream.shutdown(Shutdown::Both);
        return;
    }
    let doorward = matches!(mood, Mood::Pass).then(|| TcpStream::connect(shared.doorward).ok()).flatten();
    if let Some(doorward) = &doorward {
        let (mut from, mut to) = (doorward.try_clone().unwrap(), stream.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    let mut part = [0; 65_536];
    while let Ok(count @ 1..) = stream.read(&mut part) {
        shared.heard.lock().unwrap().extend(&part[..count]);
        if doorward.as_ref().is_some_and(|mut doorward| doorward.write_all(&part[..count]).is_err()) {
            break;
        }
    }
    if let Some(doorward) = doorward {
        let _ = doorward.shutdown(Shutdown::Both);
    }
}
