// A rank of a training run, as the tests start it: ranks CONFIG [lose|throw STEP]
//     lose    rank 1 is killed before that step        throw   rank 1 meets an error there

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include <smolvlm/ref/ref.hpp>
#include <smolvlm/train/mpi.hpp>
#include <smolvlm/train/run.hpp>

using namespace smolvlm;

int main(int count, char** arguments) {
    const auto ranks = std::make_shared<Mpi>();
    try {
        const auto no_pictures = [](const std::string& path) -> Image { fail<ValueError>(path, ": no pictures here"); };
        Trainer<Ref<float>> trainer(Ref<float>(), read_train_config(arguments[1]), chat_files(no_pictures), false, ranks);
        if (count > 2) {
            const Index step = std::atoll(arguments[3]);
            while (true) {
                if (trainer.step_count() + 1 == step && ranks->rank() == 1) {
                    if (std::string(arguments[2]) == "lose") std::raise(SIGKILL);
                    fail<ValueError>("trouble at step ", step);
                }
                trainer.step();
                trainer.save();
            }
        }
        RunObserver nobody;
        run(trainer, nobody);
    } catch (const Error& error) {
        std::fprintf(stderr, "rank %d: %s\n", ranks->rank(), error.what());
        ranks->end_job(2);
    }
    return 0;
}
