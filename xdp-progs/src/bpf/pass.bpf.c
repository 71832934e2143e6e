/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Gives every packet to the kernel.
 *
 * Never attached: the hand-over runs it on one packet at a time (BPF_PROG_TEST_RUN with live frames), and what it
 * passes enters the kernel's stack as if received on the interface named in its context. There it meets the classifier again where that is
 * attached in generic mode, so it carries a stamp.
 */
#include "spine.h"

SEC("xdp")
int pass(struct xdp_md *context)
{
	if (!bpf_xdp_adjust_meta(context, -(int)sizeof(struct spine_metadata))) {
		struct spine_metadata *metadata = (void *)(long)context->data_meta;

		if ((void *)(metadata + 1) <= (void *)(long)context->data)
			*metadata = (struct spine_metadata){ .magic = SPINE_MAGIC, .flags = SPINE_HANDED_BACK };
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "MIT";
