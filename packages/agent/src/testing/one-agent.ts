import { AgentProcess, testFolder } from './agent-process.js';
import { FakeControlPlane } from './fake-control-plane.js';

/** A control plane and one agent for it, host `alpha`, which is not started yet. */
export interface OneAgent {
  readonly plane: FakeControlPlane;
  readonly agent: AgentProcess;
  /** Ends both and whatever guests the agent left. What the agent logged is shown when the test failed. */
  end(test: { readonly task: { readonly result?: { readonly state: string } } }): Promise<void>;
}

export async function prepareAgent(): Promise<OneAgent> {
  const plane = await FakeControlPlane.start();
  const agent = new AgentProcess(plane, 'alpha', await testFolder());
  return {
    plane,
    agent,
    async end({ task }) {
      if (task.result?.state === 'fail') process.stderr.write(`--- agent log\n${agent.log}\n`);
      await agent.destroy();
      await plane.stop();
    },
  };
}
