/** First choices where nothing is recorded yet: the oldest models that today's distributions still run on, so that a guest can move anywhere. */
export const preferredCpuModels = ['Westmere-v1', 'Nehalem-v1', 'Opteron_G2-v1', 'qemu64-v1'] as const;

export interface AcceleratorChoice {
  readonly accelerator: 'kvm' | 'tcg';
  readonly reason: string;
}

/**
 * KVM where a probe guest ran under it and it offers a CPU that today's guests run on. A hypervisor below may hide so many features that
 * only 32-bit models are whole: the probe, a boot sector, is content with them, and no 64-bit kernel ever starts.
 */
export function chooseAccelerator(
  probe: { readonly usable: boolean; readonly reason: string },
  kvmCpuModels: readonly string[],
): AcceleratorChoice {
  if (!probe.usable) return { accelerator: 'tcg', reason: probe.reason };
  if (preferredCpuModels.some((model) => kvmCpuModels.includes(model))) return { accelerator: 'kvm', reason: probe.reason };
  return { accelerator: 'tcg', reason: `KVM offers none of the CPU models ${preferredCpuModels.join(', ')} whole` };
}
