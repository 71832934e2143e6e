/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Gives every packet to the kernel.
 *
 * Never attached: the hand-over runs it on one packet at a time (BPF_PROG_TEST_RUN with live frames), and what it
 * passes enters the kernel's stack as if received on the interface named in its context.
 */
#include "spine.h"

SEC("xdp")
int pass(struct xdp_md *context)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "MIT";
