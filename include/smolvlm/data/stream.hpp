#pragma once
/// The endless stream of training batches: samples in their order, made into examples, packed up to a budget.
///
///     data sets --SampleOrder--> conversations --make_example--> examples --until the budget is full--> Batch
///
/// Everything random about a sample follows from (seed, its place in the order), so the whole state of the stream is
/// one number: seek(position()) goes on exactly where it was. Of several ranks (machines), rank r reads the samples
/// r, r + ranks, r + 2 ranks, ... of the same order.

#include <optional>

#include <smolvlm/data/batch.hpp>
#include <smolvlm/data/order.hpp>
#include <smolvlm/data/sample_source.hpp>

namespace smolvlm {

struct PackOptions {
    Index batch_tokens = 4096;   // a batch has no more, unless its first example alone has
    Index batch_samples = 1024;  // nor more examples
    Index max_tokens = 8192;     // longer examples do not fit the model
    bool drop_long = false;      // leave them out instead of stopping with an error
};

class BatchStream {
public:
    using Sources = std::vector<std::shared_ptr<const SampleSource>>;

    BatchStream(Sources sources, std::vector<double> weights, const Processor& processor, ExampleOptions example,
                PackOptions pack, std::uint64_t seed = 0, Index rank = 0, Index ranks = 1)
        : sources_(std::move(sources)),
          processor_(&processor),
          example_(std::move(example)),
          pack_(pack),
          order_(sets(sources_, weights), seed),
          seed_(seed),
          rank_(rank),
          ranks_(ranks) {
        seek(0);
    }

    /// Samples of the order that lie behind, of all ranks.
    Index position() const { return position_; }
    void seek(Index position) {
        order_.seek(position);
        position_ = position;
        waiting_.reset();
    }
    /// Examples left out so far because they are too long.
    Index dropped() const { return dropped_; }
    /// Epochs of the first set that lie behind; 0 for one without end.
    double epochs() const {
        const Index size = sources_[0]->size();
        return size > 0 ? static_cast<double>(order_.taken(0)) / static_cast<double>(size) : 0.0;
    }

    /// Throws what a bad sample deserves; the message begins with its file and line.
    Batch next() {
        std::vector<Example> examples;
        Index tokens = 0;
        for (Index left_out = 0; static_cast<Index>(examples.size()) < pack_.batch_samples;) {
            if (!waiting_) waiting_ = read();
            if (waiting_->tokens() > pack_.max_tokens) {
                ++dropped_;
                SMOLVLM_CHECK(++left_out < 10000, ValueError,
                              "data: 10000 samples in a row are longer than max_tokens ", pack_.max_tokens);
                take();
                continue;
            }
            if (!examples.empty() && tokens + waiting_->tokens() > pack_.batch_tokens)
                break;  // it waits for the next batch
            tokens += waiting_->tokens();
            examples.push_back(std::move(*waiting_));
            take();
        }
        return make_batch(examples);
    }

    /// f(batch) for batches of every sample of the first set once, in the file's order (on several ranks: of this one's).
    template <class F>
    void one_epoch(F&& f) const {
        std::vector<Example> examples;
        Index tokens = 0;
        const auto flush = [&] {
            if (!examples.empty()) f(make_batch(examples));
            examples.clear();
            tokens = 0;
        };
        for (Index i = rank_; i < sources_[0]->size(); i += ranks_) {
            Example next = example(0, i, i);
            if (next.tokens() > pack_.max_tokens) continue;
            if (tokens + next.tokens() > pack_.batch_tokens || std::ssize(examples) == pack_.batch_samples) flush();
            tokens += next.tokens();
            examples.push_back(std::move(next));
        }
        flush();
    }

    /// Sample i of a set as an example. draw: which of its random versions (its place in the order).
    Example example(std::size_t set, Index i, Index draw) const {
        const SampleSource& source = *sources_[set];
        try {
            Sample sample = source.sample(i);
            Random random(seed_ ^ 0xA0761D6478BD642Full, static_cast<std::uint64_t>(draw) << 16);
            Example result = make_example(*processor_, std::move(sample.chat), sample.pictures, example_, random,
                                          sample.picture_texts);
            SMOLVLM_CHECK(result.tokens() <= pack_.max_tokens || pack_.drop_long, ValueError, "the sample has ",
                          result.tokens(), " tokens, more than \"max_tokens\" ", pack_.max_tokens,
                          "; shorten it, use fewer tiles, or set \"long_samples\" to \"drop\"");
            return result;
        } catch (const Error& error) {
            const std::string where = source.where(i), what = error.what();
            throw ValueError(what.starts_with(where) ? what : where + ": " + what);
        }
    }

private:
    static std::vector<SampleOrder::Set> sets(const Sources& sources, const std::vector<double>& weights) {
        std::vector<SampleOrder::Set> out;
        for (std::size_t i = 0; i < sources.size(); ++i) out.push_back({sources[i]->size(), weights[i]});
        return out;
    }

    /// The next sample of this rank. The order moves on, the position only when the sample is taken.
    Example read() {
        for (Index r = 0; r < rank_; ++r) order_.skip();
        const Index draw = order_.position();
        const SampleOrder::Pick pick = order_.next();
        for (Index r = rank_ + 1; r < ranks_; ++r) order_.skip();
        return example(pick.set, pick.sample, draw);
    }
    void take() {
        position_ += ranks_;
        waiting_.reset();
    }

    Sources sources_;
    const Processor* processor_;
    ExampleOptions example_;
    PackOptions pack_;
    SampleOrder order_;
    std::uint64_t seed_;
    Index rank_, ranks_;
    Index position_ = 0, dropped_ = 0;
    std::optional<Example> waiting_;  // read, but not in a batch yet
};

}  // namespace smolvlm
