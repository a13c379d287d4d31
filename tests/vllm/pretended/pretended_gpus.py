"""A plugin of vLLM: CPUs that Ray knows as GPUs, so that vLLM's workers on Ray run on a machine without any."""

from vllm.platforms.cpu import CpuPlatform


def platform():
    return f"{__name__}.PretendedGpus"


class PretendedGpus(CpuPlatform):
    ray_device_key = "GPU"

    @classmethod
    def device_control_id_to_physical_device_id(cls, told):
        return int(told)
