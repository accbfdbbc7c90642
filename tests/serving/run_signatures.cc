// Runs the signatures of a SavedModel as TensorFlow Serving does: TensorFlow's C++ runtime, no
// Python, XLA switched off.
//
//   run_signatures MODEL REQUESTS [--each]
//
// Each folder in REQUESTS is named after a signature, with an optional ".suffix", and holds a
// serialized TensorProto for each input, NAME.in. The answer to it is written beside, NAME.out.
// A request that fails ends the program; with --each what it was told is written to a file, error.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/compiler/jit/flags.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/public/session.h"

namespace fs = std::filesystem;
namespace tf = tensorflow;

template <typename Status>
void Check(const Status& status, const std::string& what) {
  if (status.ok()) return;
  std::cerr << what << ": " << status.ToString() << std::endl;
  std::exit(1);
}

int main(int argc, char** argv) {
  const bool each = argc == 4 && argv[3] == std::string("--each");
  if (argc != 3 && !each) {
    std::cerr << "usage: run_signatures MODEL REQUESTS [--each]" << std::endl;
    return 2;
  }
  tf::DisableXlaCompilation();
  tf::SavedModelBundle bundle;
  Check(tf::LoadSavedModel(tf::SessionOptions(), tf::RunOptions(), argv[1],
                           {"serve"}, &bundle),
        "load");
  for (const auto& request : fs::directory_iterator(argv[2])) {
    const auto& signature = bundle.GetSignatures().at(request.path().stem().string());
    std::vector<std::pair<std::string, tf::Tensor>> feeds;
    for (const auto& [key, info] : signature.inputs()) {
      std::ifstream file(request.path() / (key + ".in"), std::ios::binary);
      tf::TensorProto proto;
      tf::Tensor value;
      if (!proto.ParseFromIstream(&file) || !value.FromProto(proto)) {
        std::cerr << request.path() << ": no readable " << key << ".in" << std::endl;
        return 1;
      }
      feeds.emplace_back(info.name(), value);
    }
    std::vector<std::string> keys, fetches;
    for (const auto& [key, info] : signature.outputs()) {
      keys.push_back(key);
      fetches.push_back(info.name());
    }
    std::vector<tf::Tensor> answers;
    const auto status = bundle.GetSession()->Run(feeds, fetches, {}, &answers);
    if (each && !status.ok()) {
      std::ofstream(request.path() / "error") << status.ToString();
      continue;
    }
    Check(status, request.path().string());
    for (size_t i = 0; i < keys.size(); ++i) {
      tf::TensorProto proto;
      answers[i].AsProtoField(&proto);
      std::ofstream file(request.path() / (keys[i] + ".out"), std::ios::binary);
      proto.SerializeToOstream(&file);
    }
  }
}
