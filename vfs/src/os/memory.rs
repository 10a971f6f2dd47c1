//! Hints about mapped memory: what of it is there, and what will be needed.
//!
//! Called by readers of mapped files. Nothing here changes what memory holds, and every failure means "no hint".
#![allow(unsafe_code)]

/// The most pages that [`is_resident`] looks at.
const PAGES_MAX: usize = 32;

/// The first page that `bytes` touch and how many, and a page's length; `None` for no bytes.
fn pages(bytes: &[u8]) -> Option<(usize, usize, usize)> {
    // SAFETY: the call takes and gives numbers only.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    let start = bytes.as_ptr() as usize;
    let first = start - start.checked_rem(page)?;
    let count = (start - first + bytes.len()).div_ceil(page);
    (!bytes.is_empty()).then_some((first, count, page))
}

/// Whether all of `bytes` (of the first pages, if they are many) is in memory, so that touching it waits for no device.
/// True where the system does not tell.
pub fn is_resident(bytes: &[u8]) -> bool {
    #[cfg(target_os = "linux")]
    if let Some((first, count, page)) = pages(bytes) {
        let count = count.min(PAGES_MAX);
        let mut states = [0u8; PAGES_MAX];
        // SAFETY: `first` is where a page starts, the pages from there on are those of `bytes`, and the call writes one
        // byte for each of them to `states`, which has room for that many.
        let result =
            unsafe { libc::mincore(first as *mut libc::c_void, count * page, states.as_mut_ptr()) };
        return result != 0 || states[..count].iter().all(|state| state & 1 == 1);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = bytes;
    true
}

/// Starts to fetch what of `bytes` is not in memory, in one go and without waiting for it. Costs a system call: not for
/// bytes of a single page, which a fault fetches as well.
pub fn will_need(bytes: &[u8]) {
    if let Some((first, count, page)) = pages(bytes) {
        // SAFETY: this advice changes no content, and the pages are those of `bytes`.
        let _ =
            unsafe { libc::madvise(first as *mut libc::c_void, count * page, libc::MADV_WILLNEED) };
    }
}

/// Whether `bytes` lie in more than one page.
pub fn spans_pages(bytes: &[u8]) -> bool {
    pages(bytes).is_some_and(|(_, count, _)| count > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_touched_is_resident_and_hints_change_nothing() {
        let bytes = vec![7u8; 100_000];
        assert!(is_resident(&bytes) && is_resident(&bytes[..0]) && is_resident(&bytes[99_999..]));
        will_need(&bytes);
        will_need(&bytes[..0]);
        assert!(bytes.iter().all(|&byte| byte == 7));
        assert!(spans_pages(&bytes) && !spans_pages(&bytes[..1]) && !spans_pages(&bytes[..0]));
    }
}
