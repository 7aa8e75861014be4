"""Everything that touches megatron-core: process groups, parallel layers, the stand-in for machines without CUDA."""
