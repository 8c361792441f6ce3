/** For tests and measurements only: the agent as a process of its own, a control plane that it can link to, and machines to run it on. */
export { AgentProcess, testFolder } from './agent-process.js';
export { imageVolume, smallInstance } from './desired-objects.js';
export { FakeControlPlane } from './fake-control-plane.js';
export { type SeparateMachine, SeparateMachines } from './separate-machines.js';
export { counterFrom, tinyGuestImage } from './tiny-guest.js';
