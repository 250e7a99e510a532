import { describe, expect, it } from "vitest";
import { networks } from "../../models/networks.js";
import { generatedNetwork, parseCalibration } from "./rows.js";

describe("published measurements", () => {
  it.each([
    ["ResNet-50 (Keras v1)", "resnet50"],
    ["ResNet18", "resnet18"],
    ["ResNet-101", "resnet101"],
    ["resnet-152 v1", "resnet152"],
    ["MobileNetV2 1.0", "mobilenet_v2"],
    ["VGG-16", "vgg16"],
    ["ViT-B/16 (224)", "vit_b_16"],
    ["DistilBERT base (seq 128)", "distilbert"],
    ["BERT-base cased (seq 128)", "bert_base"],
    ["BERT-Large (seq 128)", "bert_large"],
    ["all-MiniLM-L6-v2", "minilm"],
    ["GPT-2 blocks", "gpt2_blocks"],
  ])("%s is the generated %s", (model, name) => {
    expect(generatedNetwork(model)).toBe(name);
    expect(Object.keys(networks)).toContain(name);
  });

  it.each(["ResNet-500", "YOLOv5", "RoBERTa-base"])("%s has no generated network", (model) => {
    expect(generatedNetwork(model)).toBeUndefined();
  });

  it("become rows, and those that can't be predicted are told apart", () => {
    const text = [
      "model,dtype,input,instance,cores_used,mode,compiled_batch,clients,throughput_per_s,latency_p50_ms",
      "ResNet-50,fp16,224x224x3,inf1.6xlarge,16,16 one-core replicas,5,32 threads user batch 10x,9100,",
      "YOLOv5,fp16,640x640x3,inf1.xlarge,1,one core,1,1 in flight,100,10",
      "BERT-base,bf16,128 tokens,inf2.xlarge,1,one core,1,1 in flight,100,10",
      "BERT-base,bf16,384 tokens,inf1.xlarge,4,one pipeline,1,5 in flight,100,10.5",
    ].join("\n");
    const { rows, skipped } = parseCalibration(text);
    expect(rows).toMatchObject([
      { network: "resnet50", batch: 5, fastMath: "fp32-cast-all-fp16", pipelineCores: 1, replicas: 16, inFlight: 32, userBatch: 50 },
      {
        network: "bert_base",
        sequence: 384,
        batch: 1,
        fastMath: "all",
        pipelineCores: 4,
        replicas: 1,
        inFlight: 5,
        userBatch: 1,
        latencyMs: 10.5,
      },
    ]);
    expect(skipped).toEqual([
      "YOLOv5, batch 1, 1 core(s): there is no generated network of that name",
      expect.stringContaining("inf2.xlarge is none of inf1.xlarge"),
    ]);
  });
});
