/*
 * User-Mode Linux 6.12 keeps 2,696 bytes of a process's vector registers: all that
 * processors had before AMX. A host whose processor has AMX takes registers back in one
 * length only, its own (about 11,000 bytes), and refuses theirs with EFAULT, at which the
 * kernel panics. This stands before the C library's ptrace() and adds the rest: zeros, as
 * Linux gives AMX only to processes that ask, and the guest's cannot.
 *
 * See xstateregs_set() in Linux's arch/x86/kernel/fpu/regset.c. Compiled by machine.py.
 */

enum { PTRACE_GETREGSET = 0x4204, PTRACE_SETREGSET = 0x4205, NT_X86_XSTATE = 0x202 };
#define RTLD_NEXT ((void *)-1L)

struct iovec {
    void *base;
    unsigned long length;
};

void *dlsym(void *, const char *);
void *memcpy(void *, const void *, unsigned long);
void *memset(void *, int, unsigned long);

static char whole[65536];

long ptrace(long request, long pid, void *address, void *data)
{
    static long (*libc_ptrace)(long, long, void *, void *);
    static unsigned long host_length;
    struct iovec *given = data;
    struct iovec all = {whole, sizeof whole};

    if (!libc_ptrace)
        libc_ptrace = dlsym(RTLD_NEXT, "ptrace");
    if (request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE)
        return libc_ptrace(request, pid, address, data);
    if (!host_length) {
        if (libc_ptrace(PTRACE_GETREGSET, pid, address, &all) < 0)
            return -1;
        host_length = all.length;
    }
    if (given->length >= host_length)
        return libc_ptrace(request, pid, address, data);
    memcpy(whole, given->base, given->length);
    memset(whole + given->length, 0, host_length - given->length);
    all.length = host_length;
    return libc_ptrace(request, pid, address, &all);
}
