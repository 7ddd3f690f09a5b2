// Blocks that share the work on one photo and wait for one another: a thread block cluster (sm_90 and later), which the
// device starts as a whole. After common.cuh. Macro: CLUSTER, blocks of a cluster; 1: a block by itself. The emulator of
// the tests has its own cluster_barrier.

#if CLUSTER > 1
#define IN_CLUSTERS __cluster_dims__(CLUSTER, 1, 1)
#else
#define IN_CLUSTERS
#endif

#ifndef cluster_barrier
// All threads of the cluster wait for one another; what they wrote to memory before, all of them read after it. (PTX ISA,
// "barrier.cluster": arrive releases, wait acquires, at the scope of the cluster.)
__device__ __forceinline__ void cluster_barrier() {
#if CLUSTER > 1
    asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
#else
    __syncthreads();
#endif
}
#endif
