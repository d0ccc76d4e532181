//! The seal over one entry of the cookie: its keys, its bytes, its text.
//!
//! An entry says which target of one group a client has, and until when. Which entries there are and
//! where they stand is `cookie.rs`'s affair.

use std::{fmt, iter, time::Duration};

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::id::{GroupName, TargetId};

/// The longest id of a target that is remembered, in bytes: the greatest length of a host name, and
/// short enough for eight entries in the 4 KiB that a client keeps of a cookie.
pub(super) const TARGET_ID_MAX: usize = 256;

const TAG: usize = 4;
const NONCE: usize = 12;
const EXPIRY: usize = 8;
const PROOF: usize = 16;
const ENTRY_MIN: usize = TAG + NONCE + EXPIRY + PROOF;
const ENTRY_MAX: usize = ENTRY_MIN + TARGET_ID_MAX;

/// The longest text of an entry: six bits a character.
pub(super) const TEXT_MAX: usize = (ENTRY_MAX * 8).div_ceil(6);

/// How much is put together on the stack to be sealed along: enough for names of ordinary length.
const ASSOCIATED_MAX: usize = 256;

/// Seals cookies: 256 secret bits, the same in all balancers that share sessions.
///
/// Each seal has a random number of its own; 2^32 seals a key are safe (NIST SP 800-38D §8.3). A
/// balancer makes one a target and tick, a tick being a fiftieth of a session and a minute at most:
/// with sessions of an hour or more, ten balancers of a hundred targets take eight years for that, with
/// sessions of a few seconds some weeks. Change the key before
/// ([`previous_key`](super::CookieBuilder::previous_key)).
///
/// # Examples
///
/// ```
/// use pointsman::stickiness::CookieKey;
///
/// let key = CookieKey::generate()?;
/// // Written down somewhere safe, it opens the same cookies after a restart.
/// let again = CookieKey::from_bytes(*key.as_bytes());
/// assert_eq!(key.as_bytes(), again.as_bytes());
/// assert_eq!(format!("{key:?}"), "CookieKey(..)");
/// # Ok::<_, pointsman::stickiness::NoEntropy>(())
/// ```
#[derive(Clone)]
pub struct CookieKey([u8; 32]);

impl CookieKey {
    /// Makes a key of the operating system's random numbers.
    ///
    /// # Errors
    ///
    /// If the operating system gives none.
    pub fn generate() -> Result<Self, NoEntropy> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(NoEntropy)?;
        Ok(Self(bytes))
    }

    /// Makes a key of bytes that nobody else can know or guess.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the secret.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKey(..)")
    }
}

/// The operating system gave no random numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no random numbers from the operating system: {0}")]
pub struct NoEntropy(getrandom::Error);

/// Why an entry was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsealed {
    #[error(transparent)]
    NoEntropy(NoEntropy),
    #[error("target id of {0} bytes: expected {TARGET_ID_MAX} at most")]
    LongTargetId(usize),
}

/// Fills a nonce with random numbers.
pub(super) type Entropy = fn(&mut [u8]) -> Result<(), getrandom::Error>;

/// Seals and opens the entries of one cookie.
pub(super) struct Seal {
    key: Aes256Gcm,
    previous_key: Option<Aes256Gcm>,
    /// Sealed along with each entry, with its group's name: the format's version and the cookie's
    /// name, so that an entry is good for nothing else.
    context: Box<[u8]>,
    entropy: Entropy,
}

/// An entry as it came: taken apart no further than to tell whose it is.
///
/// Its bytes are 4 of the group's tag, 12 of the nonce, then what is sealed: 8 of the expiry in
/// milliseconds since 1970 and the target's id; and 16 that prove it all.
pub(super) struct Entry {
    bytes: [u8; ENTRY_MAX.next_multiple_of(3)],
    length: usize,
}

impl Seal {
    pub(super) fn new(cookie: &str, key: &CookieKey, previous_key: Option<&CookieKey>) -> Self {
        let cipher = |key: &CookieKey| Aes256Gcm::new(&key.0.into());
        Self {
            key: cipher(key),
            previous_key: previous_key.map(cipher),
            // A cookie's name has no zero byte, so no two pairs of names read alike.
            context: [b"pointsman 1\0", cookie.as_bytes(), b"\0"].concat().into(),
            entropy: getrandom::fill,
        }
    }

    #[cfg(test)]
    pub(super) fn with_entropy(mut self, entropy: Entropy) -> Self {
        self.entropy = entropy;
        self
    }

    /// Makes the text of an entry; `until` is since 1970.
    pub(super) fn seal(
        &self,
        group: &GroupName,
        target: &TargetId,
        until: Duration,
    ) -> Result<String, Unsealed> {
        let long = || Unsealed::LongTargetId(target.len());
        if target.len() > TARGET_ID_MAX {
            return Err(long());
        }
        let mut nonce = [0; NONCE];
        (self.entropy)(&mut nonce).map_err(|error| Unsealed::NoEntropy(NoEntropy(error)))?;
        let until = until.as_millis() as u64;
        let mut inner = [&until.to_be_bytes(), target.as_bytes()].concat();
        let proof = self
            .with_associated(group, |associated| {
                let inner = inner.as_mut_slice().into();
                self.key.encrypt_inout_detached(&nonce.into(), associated, inner)
            })
            // The cipher refuses nothing else than too long a text.
            .map_err(|_| long())?;
        let entry = [&tag(group)[..], &nonce, &inner, &proof].concat();
        Ok(URL_SAFE_NO_PAD.encode(entry))
    }

    /// Opens an entry of this group: the target and until when, since 1970.
    ///
    /// Costs one opening a key at most. `None` if neither key had sealed it for this group.
    pub(super) fn open(&self, group: &GroupName, entry: &Entry) -> Option<(TargetId, Duration)> {
        self.with_associated(group, |associated| {
            let mut keys = iter::once(&self.key).chain(&self.previous_key);
            keys.find_map(|key| entry.open(key, associated))
        })
    }

    /// Puts together what is sealed along with a group's entries.
    fn with_associated<T>(&self, group: &GroupName, use_it: impl FnOnce(&[u8]) -> T) -> T {
        let (context, group) = (&*self.context, group.as_bytes());
        let mut buffer = [0; ASSOCIATED_MAX];
        match buffer.get_mut(..context.len() + group.len()) {
            Some(buffer) => {
                let bytes = context.iter().chain(group);
                buffer.iter_mut().zip(bytes).for_each(|(place, &byte)| *place = byte);
                use_it(buffer)
            }
            None => use_it(&[context, group].concat()),
        }
    }
}

impl Entry {
    /// Reads an entry's text; `None` if it cannot be one.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let mut bytes = [0; ENTRY_MAX.next_multiple_of(3)];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length >= ENTRY_MIN).then_some(Self { bytes, length })
    }

    /// Tells whether this is an entry of that group, if it is genuine.
    pub(super) fn is_of(&self, group: &GroupName) -> bool {
        self.bytes.starts_with(&tag(group))
    }

    fn open(&self, key: &Aes256Gcm, associated: &[u8]) -> Option<(TargetId, Duration)> {
        #[cfg(test)]
        super::tests::count_opening();
        // A copy, since the entry may have to be opened with another key.
        let mut bytes = self.bytes;
        let (_tag, bytes) = bytes.get_mut(..self.length)?.split_first_chunk_mut::<TAG>()?;
        let (nonce, bytes) = bytes.split_first_chunk_mut::<NONCE>()?;
        let (inner, proof) = bytes.split_last_chunk_mut::<PROOF>()?;
        let (nonce, proof) = ((*nonce).into(), (*proof).into());
        key.decrypt_inout_detached(&nonce, associated, (&mut *inner).into(), &proof).ok()?;
        let (until, target) = inner.split_first_chunk::<EXPIRY>()?;
        let target = TargetId::from(str::from_utf8(target).ok()?);
        Some((target, Duration::from_millis(u64::from_be_bytes(*until))))
    }
}

/// Marks a group's entries, so that those of other groups need not be opened.
///
/// It keeps nothing secret and proves nothing. Two groups of one tag, once in 2^32 pairs, push each
/// other's entries out of the cookie.
fn tag(group: &GroupName) -> [u8; TAG] {
    let hash = fnv(group.bytes());
    ((hash >> 32) as u32 ^ hash as u32).to_be_bytes()
}

/// Hashes as FNV-1a does, the same in every process and version.
pub(super) fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
