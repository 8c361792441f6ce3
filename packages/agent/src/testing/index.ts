/** For tests and measurements only: the agent as a process of its own, and a control plane that it can link to. */
export { AgentProcess, testFolder } from './agent-process.js';
export { imageVolume, smallInstance } from './desired-objects.js';
export { FakeControlPlane } from './fake-control-plane.js';
