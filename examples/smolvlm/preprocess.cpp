// smolvlm preprocess: pictures to the frames that the vision tower sees.

#include <smolvlm/image/contact_sheet.hpp>
#include <smolvlm/image/save_png.hpp>

#include "commands.hpp"
#include "console.hpp"
#include "inputs.hpp"

namespace cli {

using namespace smolvlm;

int preprocess(const Words& words) {
    ModelFlags model;
    ImageFlags image_flags;
    Words images;
    std::string output, contact_sheet;
    Arguments arguments(
        "preprocess",
        "Turns pictures into the frames that the model sees and writes them as safetensors, with I frames of all\n"
        "pictures together, tiles row by row and each picture's global frame after its tiles:\n"
        "  pixel_values          F32 [I, 3, H, W]  what the vision tower is given\n"
        "  pixel_u8              U8  [I, 3, H, W]  the same before rescaling and normalising\n"
        "  pixel_attention_mask  I64 [I, H, W]     1 on real pixels\n"
        "  rows, cols            I64 [pictures]    the grid of tiles; 0 where there is one frame only");
    model.declare(arguments);
    arguments.list("--image", "FILE", images, "a picture: PNG, JPEG, BMP or GIF; may be given several times");
    arguments.text("--output", "O.safetensors", output, "the file to write");
    arguments.text("--contact-sheet", "O.png", contact_sheet,
                   "also draw a picture to look at: the tiles with their position tokens and the global frame");
    image_flags.declare(arguments);
    if (!arguments.parse(words)) return print(arguments.help()), 0;
    SMOLVLM_CHECK(!images.empty(), ValueError, "--image is missing, expected a picture");
    SMOLVLM_CHECK(!output.empty(), ValueError, "--output is missing, expected the name of the file to write");

    const Processor processor = model.open_processor();
    SMOLVLM_CHECK(processor.has_images(), ValueError, model.model, ": this model reads text only");
    std::vector<ProcessedImage> processed;
    for (const std::string& path : images)
        processed.push_back(process_image(image_flags.load({path})[0], processor.image, image_flags.tiles));

    const auto pictures = static_cast<Index>(processed.size());
    HostTensor<std::int64_t> rows(Shape{pictures}), cols(Shape{pictures});
    for (Index i = 0; i < pictures; ++i) {
        rows.data()[i] = processed[static_cast<std::size_t>(i)].rows;
        cols.data()[i] = processed[static_cast<std::size_t>(i)].cols;
    }
    const HostTensor<std::uint8_t> pixels = stack_frames(processed);
    const HostTensor<float> values = normalize(pixels, processor.image.scaling());
    HostTensor<std::int64_t> mask(Shape{pixels.dim(0), pixels.dim(2), pixels.dim(3)});
    std::fill_n(mask.data(), mask.numel(), std::int64_t(1));  // frames all have one size, so no pixel is padding
    save_tensors(output, {NamedTensor::of("pixel_values", values), NamedTensor::of("pixel_u8", pixels),
                          NamedTensor::of("pixel_attention_mask", mask), NamedTensor::of("rows", rows),
                          NamedTensor::of("cols", cols)});
    if (!contact_sheet.empty()) save_png(contact_sheet, draw_contact_sheet(processed, images));
    return 0;
}

}  // namespace cli
