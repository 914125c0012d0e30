#pragma once
/// What happened, in order, so that it can be walked backwards once. Iterative and linear: no recursion, every entry
/// visited once however often its result was used; an entry frees what it kept as soon as it has been visited.

#include <functional>
#include <smolvlm/backend/differentiable.hpp>
#include <vector>

namespace smolvlm {

/// Who made a tensor: 0 nobody (a constant), < 0 a parameter that is watched (for the whole training), > 0 an entry of
/// the tape (for one step; numbers go on over steps, so a tensor kept from an earlier step is recognised and refused).
using NodeId = std::int64_t;

/// An input of a recorded op: who made it, and its shape, read before anything is moved.
struct Parent {
    NodeId node = 0;
    Shape shape;
};

/// d loss / d parameter of every watched parameter that the loss depends on, by leaf number (the order of watching).
template <DifferentiableBackend B>
class Gradients {
public:
    explicit Gradients(std::size_t leaves = 0) : slots_(leaves) {}

    std::size_t size() const { return slots_.size(); }
    /// Empty when the loss does not depend on that leaf.
    const Tensor<B>& operator[](std::size_t leaf) const { return slots_[leaf]; }
    Tensor<B>& operator[](std::size_t leaf) { return slots_[leaf]; }

private:
    std::vector<Tensor<B>> slots_;
};

template <DifferentiableBackend B>
class Tape {
public:
    using Inner = Tensor<B>;

    /// Where a vjp puts its results: sinks[i] is the gradient slot of parent i, empty at first, or null when not
    /// wanted.
    class Sinks {
    public:
        Sinks(B& be, Tape& tape, std::span<const Parent> parents) : be_(be), tape_(tape), parents_(parents) {}

        Inner* operator[](std::size_t i) { return parents_[i].node == 0 ? nullptr : &tape_.slot(parents_[i].node); }
        /// The same, zero at first: for a vjp that cannot tell the shape of its result.
        Inner* zeros(std::size_t i) {
            Inner* const slot = (*this)[i];
            if (slot && slot->empty()) *slot = be_.zeros(parents_[i].shape);
            return slot;
        }
        /// The gradient of parent i is dy itself: no copy unless something is there already.
        void pass(std::size_t i, const Inner& dy) {
            if (parents_[i].node == 0) return;
            Inner& slot = tape_.slot(parents_[i].node);
            if (slot.empty())
                slot = dy;
            else
                be_.add_to(slot, dy);
        }

    private:
        B& be_;
        Tape& tape_;
        std::span<const Parent> parents_;
    };
    using Vjp = std::function<void(B&, const Inner&, Sinks)>;
    /// Told during backward that the gradient of a leaf is complete (empty: the loss does not depend on it).
    using LeafDone = std::function<void(std::size_t leaf, Inner& gradient)>;

    NodeId new_leaf() { return -static_cast<NodeId>(++leaves_); }
    std::size_t leaves() const { return leaves_; }
    std::size_t size() const { return entries_.size(); }

    /// Adds an entry unless no parent needs a gradient; returns its node, or 0.
    NodeId record(std::vector<Parent> parents, Vjp vjp) {
        bool wanted = false;
        for (const Parent& parent : parents) {
            check_alive(parent.node);
            wanted = wanted || parent.node != 0;
        }
        return wanted ? push(std::move(parents), std::move(vjp)) : 0;
    }
    /// Adds an entry whatever its parents are: its vjp reaches parameters in its own way (checkpoint).
    NodeId push_opaque(std::vector<Parent> parents, Vjp vjp) {
        opaque_ = true;
        return push(std::move(parents), std::move(vjp));
    }

    /// Walks back from `node`, whose gradient is `seed`, and empties the tape. done, if given, is told of every leaf
    /// once: as soon as nothing is left that could add to it, or at the end where the tape cannot know (checkpoint).
    Gradients<B> backward(B& be, NodeId node, Inner seed, const LeafDone& done = {}) {
        check_alive(node);
        Gradients<B> gradients(leaves_);
        gradients_ = &gradients;
        std::vector<std::vector<std::size_t>> first_uses(done ? entries_.size() : 0);  // entry -> leaves
        std::vector<char> told(leaves_, 0);
        if (done && !opaque_)
            for (std::size_t e = 0; e < entries_.size(); ++e)
                for (const Parent& parent : entries_[e].parents)
                    if (parent.node < 0 && !std::exchange(told[leaf_of(parent.node)], 1))
                        first_uses[e].push_back(leaf_of(parent.node));
        slots_.assign(entries_.size(), {});
        if (node != 0) slot(node) = std::move(seed);
        NodeId highest = base_ + static_cast<NodeId>(entries_.size());
        while (!entries_.empty()) {
            if (slots_.size() < entries_.size()) slots_.resize(entries_.size());  // a vjp recorded more: checkpoint
            Entry entry = std::move(entries_.back());
            const Inner dy = std::move(slots_[entries_.size() - 1]);
            entries_.pop_back();
            const std::size_t place = entries_.size();
            if (!dy.empty()) entry.vjp(be, dy, Sinks(be, *this, entry.parents));
            highest = std::max(highest, base_ + static_cast<NodeId>(entries_.size()));
            if (place < first_uses.size())
                for (const std::size_t leaf : first_uses[place]) done(leaf, gradients[leaf]);
        }
        for (std::size_t leaf = 0; done && leaf < leaves_; ++leaf)
            if (!told[leaf]) done(leaf, gradients[leaf]);
        slots_.clear();
        gradients_ = nullptr;
        opaque_ = false;
        base_ = highest;
        return gradients;
    }

    /// During backward: the gradient of an entry recorded by a vjp itself (checkpoint runs a layer again and seeds it).
    void seed(NodeId node, Inner gradient) {
        if (slots_.size() < entries_.size()) slots_.resize(entries_.size());
        if (node != 0) slot(node) = std::move(gradient);
    }

    /// Forgets what was recorded since the last backward, after an error say. Parameters stay watched.
    void clear() {
        base_ += static_cast<NodeId>(entries_.size());
        entries_.clear();
        slots_.clear();
        opaque_ = false;
    }

private:
    struct Entry {
        std::vector<Parent> parents;
        Vjp vjp;
    };

    void check_alive(NodeId node) const {
        SMOLVLM_CHECK(node <= 0 || (node > base_ && node <= base_ + static_cast<NodeId>(entries_.size())), ValueError,
                      "autograd: a tensor of an earlier step is used; its tape has been walked already");
    }
    NodeId push(std::vector<Parent> parents, Vjp vjp) {
        entries_.push_back({std::move(parents), std::move(vjp)});
        return base_ + static_cast<NodeId>(entries_.size());
    }
    static std::size_t leaf_of(NodeId node) { return static_cast<std::size_t>(-node - 1); }
    Inner& slot(NodeId node) {
        if (node < 0) return (*gradients_)[leaf_of(node)];
        return slots_[static_cast<std::size_t>(node - base_ - 1)];
    }

    std::vector<Entry> entries_;
    std::vector<Inner> slots_;  // during backward: d loss / d entry
    Gradients<B>* gradients_ = nullptr;
    std::size_t leaves_ = 0;
    bool opaque_ = false;  // an entry's parents are not all that its vjp reaches
    NodeId base_ = 0;  // nodes up to here are of earlier steps
};

}  // namespace smolvlm
